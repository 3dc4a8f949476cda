"""Where rows are kept: one list per column, so that a million contacts fit and a page of 5,000 is a few slices.

A row is a position. Positions never change and are never used again, so a position is also a place to go on reading from.
A column whose value is the same in every row is kept once; a column that nobody has set is not kept at all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any

INDEX_FROM = 200  # a table smaller than this is searched faster than it is indexed


class RowStore:
    """The rows of one table, by position and by primary key."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.size = 0
        self.version = 0
        self._dead: set[int] = set()
        self._where: dict[str, int] = {}
        self._columns: dict[str, Sequence[Any]] = {key: []}
        self._constants: dict[str, Any] = {}
        self._touched: dict[str, int] = {}
        self._indexes: dict[str, tuple[int, dict[Any, list[int]]]] = {}

    def __len__(self) -> int:
        return self.size - len(self._dead)

    def position(self, row_id: str) -> int | None:
        """Return where a row is, or None when there is no such row."""
        return self._where.get(row_id)

    def id_at(self, position: int) -> str:
        """Return the primary key of the row at a position."""
        row_id: str = self._columns[self.key][position]
        return row_id

    def is_alive(self, position: int) -> bool:
        """Tell whether the row at a position still exists."""
        return position not in self._dead

    def positions(self) -> Sequence[int]:
        """Return the positions of all rows, oldest first."""
        return [at for at in range(self.size) if at not in self._dead] if self._dead else range(self.size)

    def ids(self) -> list[str]:
        """Return the primary keys of all rows, oldest first."""
        return self.values(self.key, self.positions())

    def add(self, values: Mapping[str, Any]) -> int:
        """Append one row and return its position; its primary key must be new."""
        at = self.size
        for name in self._columns.keys() | (values.keys() - self._constants.keys()):
            self._list(name).append(values.get(name))
        for name, constant in list(self._constants.items()):
            if values.get(name) != constant:
                self._list(name).append(values.get(name))
        self._where[values[self.key]] = at
        self.size += 1
        self._touch(self.key)
        return at

    def extend(self, columns: Mapping[str, Sequence[Any]], constants: Mapping[str, Any]) -> range:
        """Append many rows at once and return their positions.

        `columns` holds one value per row, `constants` what is the same for all; the primary key is among `columns`.
        """
        ids = columns[self.key]
        start, stop = self.size, self.size + len(ids)
        everything: dict[str, Sequence[Any]] = dict(columns)
        for name in (self._columns.keys() | self._constants.keys() | constants.keys()) - columns.keys():
            value = constants.get(name)
            same = self._constants.get(name) == value if self.size else True
            if same and name not in self._columns:
                self._constants[name] = value
            else:
                everything[name] = [value] * len(ids)
        for name, added in everything.items():
            if self.size:
                self._list(name).extend(added)
            else:
                self._columns[name] = added if isinstance(added, range) else list(added)
                self._constants.pop(name, None)
        self._where.update(zip(ids, range(start, stop), strict=True))
        self.size = stop
        self._touch(self.key)
        return range(start, stop)

    def get(self, position: int, column: str) -> Any:
        """Return one value; None when it was never set."""
        held = self._columns.get(column)
        return held[position] if held is not None else self._constants.get(column)

    def set(self, position: int, column: str, value: Any) -> None:
        """Change one value."""
        if column in self._columns or self._constants.get(column) != value:
            self._list(column)[position] = value
        self._touch(column)

    def row(self, position: int) -> dict[str, Any]:
        """Return one row without its empty columns."""
        held = {name: values[position] for name, values in self._columns.items()}
        return {name: value for name, value in (self._constants | held).items() if value is not None}

    def values(self, column: str, positions: Sequence[int]) -> list[Any]:
        """Return one column's values at these positions."""
        held = self._columns.get(column)
        if held is None:
            return list(repeat(self._constants.get(column), len(positions)))
        if isinstance(positions, range):
            return list(held[positions.start : positions.stop])
        if len(positions) < 2:  # noqa: PLR2004 - itemgetter gives a tuple from two on
            return [held[at] for at in positions]
        return list(itemgetter(*positions)(held))

    def getter(self, column: str) -> Callable[[int], Any]:
        """Return a function from position to value, good until the next change."""
        held = self._columns.get(column)
        if held is not None:
            return held.__getitem__
        constant = self._constants.get(column)
        return lambda _: constant

    def remove(self, position: int) -> None:
        """Forget the row at a position."""
        del self._where[self.id_at(position)]
        self._dead.add(position)
        self._touch(self.key)

    def restore(self, position: int) -> None:
        """Bring back a row that was removed."""
        self._dead.discard(position)
        self._where[self.id_at(position)] = position
        self._touch(self.key)

    def drop_column(self, column: str) -> None:
        """Forget a column and all its values."""
        self._columns.pop(column, None)
        self._constants.pop(column, None)
        self._touch(column)

    def matching(self, column: str, values: Iterable[Any]) -> list[int] | None:
        """Return the positions where a column has one of these values, or None when a search is as good.

        Text is compared without regard to case, as the service does.
        """
        if column == self.key:
            found = (self._where.get(value) for value in values)
            return sorted({at for at in found if at is not None})
        if column not in self._columns and folded(self._constants.get(column)) not in {folded(value) for value in values}:
            return []
        if self.size < INDEX_FROM:
            return None
        index = self._index(column)
        return sorted({at for value in values for at in index.get(folded(value), ()) if at not in self._dead})

    def _index(self, column: str) -> dict[Any, list[int]]:
        version = max(self._touched.get(column, 0), self._touched.get(self.key, 0))
        kept = self._indexes.get(column)
        if kept is not None and kept[0] == version:
            return kept[1]
        index: dict[Any, list[int]] = {}
        for at, value in enumerate(self.values(column, range(self.size))):
            index.setdefault(folded(value), []).append(at)
        self._indexes[column] = (version, index)
        return index

    def _list(self, column: str) -> list[Any]:
        held = self._columns.get(column)
        if isinstance(held, list):
            return held
        grown = list(held) if held is not None else [self._constants.pop(column, None)] * self.size
        self._columns[column] = grown
        return grown

    def _touch(self, column: str) -> None:
        self.version += 1
        self._touched[column] = self.version


def folded(value: Any) -> Any:
    """Return what two values must have in common to be equal for the service: text without its case."""
    return value.casefold() if isinstance(value, str) else value


class Members:
    """One side's partners in a many-to-many relationship, in the order they came."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self.ids: list[str | None] = list(ids)
        self.version = 0
        self._where: dict[str, int] | None = None

    @property
    def where(self) -> dict[str, int]:
        """Where each partner is; built when first asked for."""
        if self._where is None:
            self._where = {row_id: at for at, row_id in enumerate(self.ids) if row_id is not None}
        return self._where

    def __len__(self) -> int:
        return len(self.where) if self._where is not None else len(self.ids)

    def __contains__(self, row_id: str) -> bool:
        return row_id in self.where

    def add(self, row_id: str) -> bool:
        """Add a partner; False when it was there already."""
        if row_id in self.where:
            return False
        self.where[row_id] = len(self.ids)
        self.ids.append(row_id)
        self.version += 1
        return True

    def remove(self, row_id: str) -> bool:
        """Take a partner out; False when it was not there."""
        at = self.where.pop(row_id, None)
        if at is None:
            return False
        self.ids[at] = None
        self.version += 1
        return True

    def present(self) -> list[str]:
        """Return all partners."""
        return [row_id for row_id in self.ids if row_id is not None]


class Links:
    """All pairs of one many-to-many relationship."""

    def __init__(self) -> None:
        self.version = 0
        self._forward: dict[str, Members] = {}

    def lefts(self) -> list[str]:
        """Return every left side that has or had a partner."""
        return list(self._forward)

    def rights_of(self, left: str) -> Members:
        """Return the right sides of one left side."""
        return self._forward.get(left) or Members()

    def lefts_of(self, right: str) -> Members:
        """Return the left sides of one right side."""
        return Members(left for left, members in self._forward.items() if right in members)

    def replace(self, left: str, rights: Iterable[str]) -> None:
        """Give a left side exactly these partners; they must be distinct."""
        self._forward[left] = Members(rights)
        self.version += 1

    def add(self, left: str, right: str) -> bool:
        """Join a pair; False when it was joined already."""
        self.version += 1
        return self._forward.setdefault(left, Members()).add(right)

    def remove(self, left: str, right: str) -> bool:
        """Part a pair; False when it was not joined."""
        self.version += 1
        members = self._forward.get(left)
        return members is not None and members.remove(right)

    def pairs(self) -> list[tuple[str, str]]:
        """Return every pair."""
        return [(left, right) for left, members in self._forward.items() for right in members.present()]
