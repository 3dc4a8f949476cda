"""What the environment remembers: rows, pairs, files, settings - and how a change is taken back or told to listeners."""

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from sandbox.dataverse import values
from sandbox.dataverse.privileges import Caller, Privileges
from sandbox.dataverse.rows import Links, RowStore
from sandbox.dataverse.tables import ManyToMany, OneToMany, Schema, Table, seeded_id
from sandbox.web import Clock

FIRST_VERSION = 1_000_001
MOST_SNAPSHOTS = 64


@dataclass
class Settings:
    """What a test or a person may change about the environment's behaviour while it runs."""

    members_shape: str = "one-per-element"
    """Or `comma-separated`, Microsoft's own example: one string with all guids inside the array."""
    members_limit: int | None = None
    """MembersList gives at most this many members while totalCount tells the truth."""
    members_status: int = 200
    """The StatusCode inside the answer of MembersList; the HTTP status stays 200."""
    members_key: str = "segment"
    """Or `definition`: which id MembersList takes; `both` takes either."""
    members_available: bool = True
    """False: MembersList answers 404, as where the action does not exist."""
    going_live: str = "at-once"
    """Or `on-demand`: going live waits for the control action `settle_segments`."""
    dop_hint: int = 4
    longest_batch_address: int | None = None
    """Longest address inside a batch; 65,536 is said of the service, without confirmation."""
    strict_policy: bool = True
    """Web resources are served with the strict content security policy."""
    languages: list[int] = field(default_factory=lambda: [1033])
    """Languages that are switched on in the environment."""
    latency: float = 0.0
    """Seconds each request for rows waits before it is answered."""


@dataclass(frozen=True)
class StoredFile:
    """The content of a file column."""

    name: str
    content: bytes
    mimetype: str


@dataclass(frozen=True)
class Event:
    """One thing that happened to one row, as steps are told about it."""

    message: str
    table: str
    row_id: str
    target: Mapping[str, Any]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    caller: Caller
    at: float
    rows: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """Only for CreateMultiple and UpdateMultiple: id and target of every row."""


class Rules:
    """What is special about one table; the plain rules apply where a method does nothing."""

    def creating(self, state: "State", caller: Caller, row: dict[str, Any]) -> None:
        """Check and complete a row before it is created."""

    def created(self, state: "State", caller: Caller, row: Mapping[str, Any]) -> None:
        """Do what follows from a new row."""

    def updating(self, state: "State", caller: Caller, before: Mapping[str, Any], changes: dict[str, Any]) -> None:
        """Check and complete the changes to a row before they are made."""

    def deleting(self, state: "State", caller: Caller, row: Mapping[str, Any]) -> None:
        """Refuse, or do what has to happen before a row goes."""


class State:
    """The environment's memory; hold `lock` while reading or changing it."""

    def __init__(self, clock: Clock, organization: str, host: str) -> None:
        self.clock = clock
        self.organization = organization
        self.host = host
        self.organization_id = seeded_id("organization", organization)
        self.root_unit = seeded_id("businessunit", organization)
        self.lock = threading.RLock()
        self.settings = Settings()
        self.schema = Schema()
        self.links: dict[str, Links] = {}
        self.privileges = Privileges(self)
        self.rules: dict[str, Rules] = {}
        self.files: dict[tuple[str, str, str], StoredFile] = {}
        self.blocks: dict[tuple[str, str, str], bytearray] = {}
        """Files that arrive in blocks and are not complete yet."""
        self.unpublished: dict[tuple[str, str], dict[str, Any]] = {}
        """Changes to forms and web resources that wait for publishing, by table and row."""
        self.published: set[tuple[str, str]] = set()
        """Forms and web resources that were published at least once."""
        self.snapshots: dict[str, Sequence[int]] = {}
        """Sorted results that pages are read from, by the id in their links."""
        self.results: dict[Any, Any] = {}
        """Results of FetchXML queries that further pages are read from."""
        self.link_generation = 0
        self.listening: Callable[[str, str], bool] = lambda message, table: False  # noqa: ARG005 - the webhooks replace it
        self.tell: Callable[[list[Event]], None] = lambda events: None  # noqa: ARG005 - the webhooks replace it
        self._stores: dict[str, RowStore] = {}
        self._derived: dict[str, tuple[int, RowStore]] = {}
        self._versions = count(FIRST_VERSION)
        self._undo: list[Callable[[], None]] | None = None
        self._events: list[Event] = []

    def now(self) -> str:
        """Return the environment's time in the Web API's form."""
        return values.timestamp(self.clock.now())

    def next_version(self) -> int:
        """Return a row version greater than all before."""
        return next(self._versions)

    def next_versions(self, how_many: int) -> range:
        """Return consecutive row versions, greater than all before."""
        start = next(self._versions)
        self._versions = count(start + how_many)
        return range(start, start + how_many)

    def add_table(self, table: Table) -> None:
        """Add an empty table with its privileges."""
        self.schema.add_table(table)
        self._stores[table.name] = RowStore(table.key)

    def drop_table(self, table: Table) -> None:
        """Forget a table with its rows, pairs and privileges."""
        for relationship in self.schema.relationships_of(table.name):
            if isinstance(relationship, ManyToMany):
                self.links.pop(relationship.schema_name, None)
        self.schema.drop_table(table)
        self._stores.pop(table.name, None)
        self.privileges.drop_for(table)

    def add_relationship(self, relationship: OneToMany | ManyToMany) -> None:
        """Add a relationship; pairs start empty."""
        self.schema.add_relationship(relationship)
        if isinstance(relationship, ManyToMany):
            self.links[relationship.schema_name] = Links()

    def drop_relationship(self, relationship: OneToMany | ManyToMany) -> None:
        """Forget a relationship with its pairs."""
        self.schema.drop_relationship(relationship)
        self.links.pop(relationship.schema_name, None)

    def store(self, table: str) -> RowStore:
        """Return the rows of a table; those of an intersect table are worked out from its pairs."""
        definition = self.schema.tables.get(table)
        if definition is not None and definition.intersect_of:
            return self._intersect_rows(definition)
        return self._stores[table]

    def _intersect_rows(self, table: Table) -> RowStore:
        version = self.version_of(table.name)
        kept = self._derived.get(table.name)
        if kept is not None and kept[0] == version:
            return kept[1]
        rows = RowStore(table.key)
        for one in table.intersect_of:
            pairs = self.links[one.schema_name].pairs()
            columns: dict[str, Sequence[Any]] = {
                table.key: [pair_id(left, right) for left, right in pairs],
                one.left_column: [left for left, _ in pairs],
                one.right_column: [right for _, right in pairs],
            }
            if pairs:
                rows.extend(columns, {"entitytype": one.right} if "entitytype" in table.columns else {})
        self._derived[table.name] = (version, rows)
        return rows

    def version_of(self, table: str) -> int:
        """Return a number that changes whenever a row of a table does."""
        definition = self.schema.tables[table]
        if definition.intersect_of:
            return sum(self.links[one.schema_name].version for one in definition.intersect_of)
        return self._stores[table].version

    def find(self, table: str, row_id: str) -> dict[str, Any] | None:
        """Return a row without its empty columns, or None."""
        store = self.store(table)
        at = store.position(row_id)
        return None if at is None else store.row(at)

    def all_rows(self, table: str) -> Iterator[dict[str, Any]]:
        """Give every row of a table; for tables that stay small."""
        store = self.store(table)
        return (store.row(at) for at in list(store.positions()))

    def first(self, table: str, **wanted: Any) -> dict[str, Any] | None:
        """Return the oldest row with these values, or None; for tables that stay small."""
        return next((row for row in self.all_rows(table) if all(row.get(name) == value for name, value in wanted.items())), None)

    def teams_of(self, user_id: str) -> list[str]:
        """Return the teams of a user."""
        return self.links["teammembership_association"].lefts_of(user_id).present()

    def units_below(self, unit: str) -> set[str]:
        """Return a business unit with all units below it."""
        found, waiting = {unit}, [unit]
        while waiting:
            parent = waiting.pop()
            below = [row["businessunitid"] for row in self.all_rows("businessunit") if row.get("parentbusinessunitid") == parent]
            waiting.extend(child for child in below if child not in found)
            found.update(below)
        return found

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do everything inside or nothing; listeners hear of it when the outermost one has succeeded."""
        if self._undo is not None:
            with self._savepoint(self._undo):
                yield
            return
        self._undo, self._events = [], []
        try:
            with self._savepoint(self._undo):
                yield
        finally:
            self._undo = None
            events, self._events = self._events, []
            if events:
                self.tell(events)

    @contextmanager
    def _savepoint(self, undo: list[Callable[[], None]]) -> Iterator[None]:
        """Take back what was done inside when it fails."""
        done, heard = len(undo), len(self._events)
        try:
            yield
        except BaseException:
            while len(undo) > done:
                undo.pop()()
            del self._events[heard:]
            raise

    def undoable(self, undo: Callable[[], None]) -> None:
        """Remember how to take a change back."""
        if self._undo is not None:
            self._undo.append(undo)

    def happened(self, event: Event) -> None:
        """Tell listeners about an event once the transaction has succeeded."""
        self._events.append(event)

    def add_row(self, table: str, row: Mapping[str, Any]) -> int:
        """Append a row as it is, without any rule, and return its position."""
        store = self._stores[table]
        at = store.add(row)
        self.undoable(lambda: store.remove(at))
        return at

    def set_values(self, table: str, position: int, changes: Mapping[str, Any]) -> None:
        """Change values as they are, without any rule."""
        store = self._stores[table]
        before = {name: store.get(position, name) for name in changes}
        for name, value in changes.items():
            store.set(position, name, value)

        def undo() -> None:
            for name, value in before.items():
                store.set(position, name, value)

        self.undoable(undo)

    def remove_row(self, table: str, position: int) -> None:
        """Remove a row as it is, without any rule."""
        store = self._stores[table]
        store.remove(position)
        self.undoable(lambda: store.restore(position))

    def link(self, relationship: ManyToMany, left: str, right: str) -> bool:
        """Join a pair; False when it was joined already."""
        links = self.links[relationship.schema_name]
        if not links.add(left, right):
            return False
        self.undoable(lambda: void(links.remove(left, right)))
        return True

    def unlink(self, relationship: ManyToMany, left: str, right: str) -> bool:
        """Part a pair; False when it was not joined."""
        links = self.links[relationship.schema_name]
        if not links.remove(left, right):
            return False
        self.undoable(lambda: void(links.add(left, right)))
        return True

    def keep_snapshot(self, positions: Sequence[int]) -> str:
        """Keep a sorted result for its further pages and return its id."""
        name = uuid.uuid4().hex[:12]
        self.snapshots[name] = positions
        while len(self.snapshots) > MOST_SNAPSHOTS:
            del self.snapshots[next(iter(self.snapshots))]
        return name


def pair_id(left: str, right: str) -> str:
    """Return the primary key that the intersect row of a pair has."""
    return left[:8] + right[8:]


def void(_: object) -> None:
    """Give up a result."""
