"""What can go wrong, as a deck of cards, and the plan of a wave: which runs are played together and what strikes them.

Everything here follows from a seed and the number of the wave, so a run is planned the same way however many are played.
Cards are dealt without putting them back, so that two waves see every kind.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

WAVE = 13
HAND = 34
_SPREAD_SECONDS = 14.0

_API = r"^/api/data/v9\.\d+/"
_READING = r"listcontact_association|MembersList|\$batch|contactpointconsent"
_ROWS = r"/lima_audiences\("
_RECORDS = r"/(lists|msdynmkt_segmentdefinitions)\("
_USERS = r"^/rest/dmpSegments/\d+/users"
_CREATE = r"^/rest/dmpSegments$"
_TOO_MANY, _TOO_LONG, _TOO_PARALLEL = "0x80072322", "0x80072321", "0x80072326"
_DEADLOCK = "0x80044150"

KINDS = ("list", "realtime")
BUTTON, ROW, LIVE = "button", "row", "live"
READY, CANCELLED, TOO_SMALL, DELETED = "Ready", "Cancelled", "Too small", "deleted"


@dataclass(frozen=True)
class Run:
    """One whole job. `acts` are what people do to its row or segment meanwhile; `end` is where it has to end."""

    number: int
    kind: str
    members: int
    trigger: str
    owner: int
    starts_at: float
    acts: tuple[str, ...] = ()
    end: str = READY


@dataclass(frozen=True)
class Strike:
    """One planned trouble. `place` says who does it: `dataverse`, `linkedin`, `entra`, `queue`, `gate` or `harness`.

    `at` is in seconds after the wave's start; `terms` are the place's own words, for a simulator the fields of `web.Fault`.
    """

    card: str
    place: str
    at: float = 0.0
    terms: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A wave."""

    seed: int
    number: int
    runs: tuple[Run, ...]
    strikes: tuple[Strike, ...]

    def has(self, card: str) -> bool:
        """Tell whether a card is in play."""
        return any(strike.card == card for strike in self.strikes)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a file."""
        return asdict(self)


@dataclass(frozen=True)
class Card:
    """A kind of trouble: its name, what it is in words, how many are in the deck, and what makes a strike of it.

    `ends_jobs`: a job that it strikes may end as Failed, and a person presses Retry. `act`: it is done to one run.
    """

    name: str
    about: str
    count: int
    deal: Callable[[random.Random], Strike]
    ends_jobs: bool = False
    act: bool = False


def plan_wave(seed: int, number: int) -> Plan:
    """Return the plan of one wave."""
    chance = random.Random(f"{seed}/{number}")  # noqa: S311  chance that can be repeated, no secret
    dealt = [(card, card.deal(chance)) for card in _dealt(seed, number)]
    acts = [card.name for card, _ in dealt if card.act]
    runs = _with_acts([_run(chance, WAVE * number + place, place) for place in range(WAVE)], acts, chance)
    return Plan(seed, number, tuple(runs), tuple(_possible(strike for card, strike in dealt if not card.act)))


def _possible(strikes: Iterable[Strike]) -> Iterator[Strike]:
    """Return strikes that can be survived together: with short tokens the two clocks agree, or tokens are over when given."""
    dealt = list(strikes)
    short = any(strike.card == "dataverse-tokens-short" for strike in dealt)
    for strike in dealt:
        if short and strike.card == "clocks-skewed":
            yield replace(strike, terms={**strike.terms, "entra": strike.terms["dataverse"]})
        else:
            yield strike


def wave_of(run: int) -> int:
    """Return the number of the wave in which a run is played."""
    return run // WAVE


def _dealt(seed: int, number: int) -> list[Card]:
    """Return the hand of a wave: the next cards of as many shuffled decks as it takes."""
    cards = _deck(seed)
    for _ in range(HAND * number):
        next(cards)
    return [next(cards) for _ in range(HAND)]


def _deck(seed: int) -> Iterator[Card]:
    shuffles = 0
    while True:
        deck = [card for card in CARDS for _ in range(card.count)]
        random.Random(f"{seed} deck {shuffles}").shuffle(deck)  # noqa: S311  as above
        shuffles += 1
        yield from deck


def _run(chance: random.Random, number: int, place: int) -> Run:
    members = chance.choices(
        [chance.randint(100, 299), chance.randint(300, 2_000), chance.randint(2_000, 8_000), chance.randint(8_000, 20_000)],
        [0.12, 0.53, 0.25, 0.10],
    )[0]
    trigger = chance.choices([BUTTON, ROW, LIVE], [0.6, 0.25, 0.15])[0]
    # About eighty of a hundred members can be sent, and a run without a person makes no audience below three hundred.
    if trigger != BUTTON and 300 <= members < 450:  # noqa: PLR2004  so that the verdict is clear
        members = 450
    end = TOO_SMALL if trigger != BUTTON and members < 300 else READY  # noqa: PLR2004
    return Run(number, KINDS[chance.random() < 0.5], members, trigger, place % 2, round(chance.uniform(0, 8), 2), end=end)  # noqa: PLR2004


def _with_acts(runs: list[Run], acts: list[str], chance: random.Random) -> list[Run]:
    """Give each act to a run of its own that ends Ready otherwise and fits."""
    free = [run for run in runs if run.end == READY and run.trigger != LIVE]
    chance.shuffle(free)
    chosen: dict[int, Run] = {}
    for act in acts:
        free.sort(key=lambda run: -(run.members > 2_000) if act in _WHILE_READING else 0)  # noqa: PLR2004
        if not free:
            break
        run = free.pop(0)
        end = {"row-deleted": DELETED, "row-cancelled": CANCELLED}.get(act, READY)
        chosen[run.number] = _changed(run, acts=(*run.acts, act), end=end)
    return [chosen.get(run.number, run) for run in runs]


def _changed(run: Run, **changes: Any) -> Run:
    return Run(**(asdict(run) | changes))


_WHILE_READING = frozenset({"members-changed", "links-expired"})


# ------------------------------------------------------------------ what the places can do


def _fault(place: str, card: str, *, most_skip: int, times: int = 1, **terms: Any) -> Callable[[random.Random], Strike]:
    def deal(chance: random.Random) -> Strike:
        return Strike(card, place, 0.0, {"skip": chance.randint(0, most_skip), "times": times, **terms})

    return deal


def _somewhere(place: str, card: str, paths: Mapping[str, int], **terms: Any) -> Callable[[random.Random], Strike]:
    def deal(chance: random.Random) -> Strike:
        path, most_skip = chance.choice(sorted(paths.items()))
        return Strike(card, place, 0.0, {"path": path, "skip": chance.randint(0, most_skip), **terms})

    return deal


def _gate(card: str, kind: str, services: tuple[str, ...]) -> Callable[[random.Random], Strike]:
    most = {"storage": 600, "dataverse": 300, "linkedin": 80}

    def deal(chance: random.Random) -> Strike:
        service = chance.choice(services)
        return Strike(card, "gate", 0.0, {"kind": kind, "service": service, "after": chance.randint(0, most[service])})

    return deal


def _queue(card: str, kind: str, *, chance_of: float = 0.5, times: int = 2) -> Callable[[random.Random], Strike]:
    def deal(chance: random.Random) -> Strike:
        terms = {"kind": kind, "queue": "audience-steps", "chance": chance_of, "times": times, "seconds": chance.uniform(0, 2.5)}
        return Strike(card, "queue", chance.uniform(0, _SPREAD_SECONDS), terms | {"skip": chance.randint(0, 4)})

    return deal


def _harness(card: str, first: float = 1.0, last: float = _SPREAD_SECONDS, **terms: Any) -> Callable[[random.Random], Strike]:
    def deal(chance: random.Random) -> Strike:
        return Strike(card, "harness", round(chance.uniform(first, last), 2), dict(terms))

    return deal


def _skewed(chance: random.Random) -> Strike:
    skew = {name: round(chance.uniform(-240, 240), 1) for name in ("dataverse", "linkedin", "entra")}
    return Strike("clocks-skewed", "harness", 0.0, skew)


def _act(card: str) -> Callable[[random.Random], Strike]:
    return lambda _: Strike(card, "harness")


def _refused(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


_EVERYWHERE = {_READING: 25, _ROWS: 50, _RECORDS: 15}
_THROTTLE = {"kind": "status", "status": 429, "headers": {"Retry-After": "3"}, "times": 2}


def _throttled(card: str, code: str) -> Callable[[random.Random], Strike]:
    return _somewhere("dataverse", card, _EVERYWHERE, body=_refused(code, "Too much."), **_THROTTLE)


_BUSY = {"status": 500, "code": "INTERNAL_SERVER_ERROR", "message": "Internal Server Error"}
# MSAL itself keeps the answer of a busy Entra for as long as Retry-After says, a minute without it.
_ENTRA_BUSY = {"headers": {"Retry-After": "4"}, "body": {"error": "temporarily_unavailable"}}
_SUNSET = {"status": 426, "code": "NONEXISTENT_VERSION", "message": "Requested version 20260801 is not active"}
_LINKEDIN = {r"^/rest/adAccount": 20, r"^/rest/dmpSegments\?q=": 10, r"^/rest/dmpSegments/\d+$": 20, _USERS: 25}

CARDS: tuple[Card, ...] = (
    # the worker and its messages
    Card(
        "killed-before-effect",
        "the app killed just before a request of its left (storage, Dataverse or LinkedIn)",
        4,
        _gate("killed-before-effect", "kill-before", ("storage", "dataverse", "linkedin")),
    ),
    Card(
        "killed-after-effect",
        "the app killed when a request of its was carried out and it had not heard so",
        4,
        _gate("killed-after-effect", "kill-after", ("storage", "dataverse", "linkedin")),
    ),
    Card(
        "killed-before-run",
        "the app killed with a message just received",
        1,
        _queue("killed-before-run", "die-before-run", times=1),
    ),
    Card(
        "killed-before-delete",
        "the app killed with a message handled and not deleted",
        1,
        _queue("killed-before-delete", "die-before-delete", times=1),
    ),
    Card(
        "message-twice", "a message delivered twice, the runs overlapping", 2, _queue("message-twice", "deliver-twice", times=4)
    ),
    Card("message-late", "a message delivered late, so out of order", 2, _queue("message-late", "deliver-late", times=4)),
    Card("delete-lost", "a message handled whose delete was lost", 2, _queue("delete-lost", "lose-delete", times=4)),
    # storage
    Card("storage-restarted", "the storage service stopped and started again", 1, _harness("storage-restarted", 2.0)),
    Card(
        "storage-dropped-before",
        "a connection to storage dropped before the effect",
        1,
        _gate("storage-dropped-before", "drop-before", ("storage",)),
    ),
    Card(
        "storage-dropped-after",
        "a connection to storage dropped after the effect",
        1,
        _gate("storage-dropped-after", "drop-after", ("storage",)),
    ),
    # the webhook
    Card("webhook-twice", "a webhook call delivered twice", 1, _harness("webhook-twice", 0, 4, mode="twice", times=5)),
    Card(
        "webhook-never",
        "a webhook call never delivered; upkeep finds the row",
        1,
        _harness("webhook-never", 0, 4, mode="never", times=3, table="lima_audience"),
    ),
    Card("webhook-late", "a webhook call delivered late", 1, _harness("webhook-late", 0, 4, mode="late", times=4, seconds=2.0)),
    # Dataverse
    Card(
        "dataverse-429-requests",
        "Dataverse 429, too many requests (Retry-After 3)",
        1,
        _throttled("dataverse-429-requests", _TOO_MANY),
    ),
    Card("dataverse-429-time", "Dataverse 429, too much time (Retry-After 3)", 1, _throttled("dataverse-429-time", _TOO_LONG)),
    Card(
        "dataverse-429-parallel",
        "Dataverse 429, too many at once (Retry-After 3)",
        1,
        _throttled("dataverse-429-parallel", _TOO_PARALLEL),
    ),
    Card(
        "dataverse-limits", "Dataverse's service protection really counting, for 6 seconds", 1, _harness("dataverse-limits", 1, 8)
    ),
    Card(
        "dataverse-500",
        "Dataverse 500",
        1,
        _somewhere(
            "dataverse", "dataverse-500", _EVERYWHERE, kind="status", status=500, times=2, body=_refused("0x80040216", "Error.")
        ),
    ),
    Card(
        "dataverse-503",
        "Dataverse 503 with a gateway's page",
        1,
        _somewhere("dataverse", "dataverse-503", _EVERYWHERE, kind="status", status=503, times=2, body="<html>Busy</html>"),
    ),
    Card(
        "dataverse-deadlock",
        "a deadlock in Dataverse's database",
        1,
        _somewhere(
            "dataverse",
            "dataverse-deadlock",
            _EVERYWHERE,
            kind="status",
            status=500,
            times=2,
            body=_refused(_DEADLOCK, "Deadlock."),
        ),
    ),
    Card(
        "dataverse-401",
        "Dataverse refusing the app's token",
        1,
        _somewhere("dataverse", "dataverse-401", _EVERYWHERE, kind="status", status=401, body=_refused("0x8005F101", "No.")),
    ),
    Card(
        "dataverse-dropped-before",
        "a connection to Dataverse dropped before the effect",
        2,
        _somewhere("dataverse", "dataverse-dropped-before", _EVERYWHERE, kind="drop-before", times=2),
    ),
    Card(
        "dataverse-dropped-after",
        "a connection to Dataverse dropped after the effect",
        2,
        _somewhere("dataverse", "dataverse-dropped-after", _EVERYWHERE, kind="drop-after", times=2),
    ),
    Card("links-expired", "a link to the next page expired in the middle of reading", 1, _act("links-expired"), act=True),
    Card("members-changed", "members added and taken out while they were read", 2, _act("members-changed"), act=True),
    Card("row-deleted", "the row deleted by a person in the middle of the job", 1, _act("row-deleted"), act=True),
    Card("row-cancelled", "Cancel pressed in the middle of the job", 1, _act("row-cancelled"), act=True),
    Card("row-changed", "the row changed by a person at the moment the app wrote it (412)", 2, _act("row-changed"), act=True),
    Card(
        "dataverse-tokens-short",
        "the app's tokens for Dataverse running out all the time",
        1,
        _harness("dataverse-tokens-short", 0, 0),
    ),
    Card(
        "entra-503",
        "Entra giving no tokens, with the earlier ones run out",
        1,
        _fault("entra", "entra-503", most_skip=3, times=2, kind="status", status=503, path="/token", **_ENTRA_BUSY),
    ),
    # LinkedIn
    Card(
        "linkedin-429",
        "LinkedIn 429 without Retry-After",
        2,
        _somewhere("linkedin", "linkedin-429", _LINKEDIN, kind="throttled", times=2),
    ),
    Card(
        "linkedin-daily-quota",
        "LinkedIn's daily quota used up; the jobs rest until after midnight UTC",
        1,
        _harness("linkedin-daily-quota", 0, 2),
    ),
    Card(
        "linkedin-5xx",
        "LinkedIn 500",
        2,
        _somewhere("linkedin", "linkedin-5xx", _LINKEDIN, kind="status", status=500, times=2, body=_BUSY),
    ),
    Card(
        "linkedin-dropped",
        "a connection to LinkedIn dropped, nothing done",
        1,
        _somewhere("linkedin", "linkedin-dropped", _LINKEDIN, kind="drop-before", times=2),
    ),
    Card(
        "create-unanswered",
        "an audience created, no answer",
        1,
        _fault("linkedin", "create-unanswered", most_skip=9, kind="created-then-dropped", method="POST", path=_CREATE),
    ),
    Card(
        "create-conflict",
        "an audience created, answered with 409",
        1,
        _fault("linkedin", "create-conflict", most_skip=9, kind="created-then-409", method="POST", path=_CREATE),
    ),
    Card(
        "create-dropped",
        "a create without answer, nothing created",
        1,
        _fault("linkedin", "create-dropped", most_skip=9, kind="drop-before", method="POST", path=_CREATE),
    ),
    Card(
        "create-5xx",
        "a create answered with 500, nothing created",
        1,
        _fault("linkedin", "create-5xx", most_skip=9, kind="status", status=500, body=_BUSY, method="POST", path=_CREATE),
    ),
    Card(
        "batch-unanswered",
        "a batch applied, no answer",
        2,
        _fault("linkedin", "batch-unanswered", most_skip=20, times=2, kind="drop-after", path=_USERS),
    ),
    Card(
        "batch-5xx",
        "a batch applied, answered with 500",
        1,
        _fault("linkedin", "batch-5xx", most_skip=20, times=2, kind="batch-applied-then-5xx", path=_USERS),
    ),
    Card(
        "spreads-slowly",
        "a 404 for a new audience, for a while",
        2,
        _fault("linkedin", "spreads-slowly", most_skip=8, kind="slow-spread", seconds=6.0, method="POST", path=_CREATE),
    ),
    Card("found-slowly", "the finder not showing new audiences for 4 seconds", 1, _harness("found-slowly", 0, 0)),
    Card(
        "element-failures",
        "some members refused inside a 200",
        1,
        _fault(
            "linkedin", "element-failures", most_skip=15, kind="element-failures", path=_USERS, body={"failing": 7, "status": 400}
        ),
    ),
    Card(
        "wrong-length",
        "an answer with too few elements",
        1,
        _fault("linkedin", "wrong-length", most_skip=15, times=2, kind="wrong-length", path=_USERS, body=3),
    ),
    Card("token-expired", "LinkedIn 401, token expired (65602): refreshed", 1, _harness("token-expired", 3)),
    Card("token-revoked", "LinkedIn 401, token revoked (65601): the person signs in again", 1, _harness("token-revoked", 3)),
    Card("token-invalid", "LinkedIn 401, token invalid (65600): the person signs in again", 1, _harness("token-invalid", 3)),
    Card(
        "token-just-issued",
        "LinkedIn 401 for a token that is seconds old",
        1,
        _somewhere("linkedin", "token-just-issued", _LINKEDIN, kind="just-issued-401", times=2),
    ),
    Card("token-short", "LinkedIn tokens running out in the middle of jobs", 1, _harness("token-short", 0, 0)),
    Card(
        "version-ended",
        "LinkedIn 426: the API version was switched off for a moment; Retry goes on",
        1,
        _somewhere("linkedin", "version-ended", _LINKEDIN, kind="status", status=426, body=_SUNSET),
        ends_jobs=True,
    ),
    # time
    Card("clocks-skewed", "the clocks of all services up to four minutes off", 1, _skewed),
)
ABOUT = {card.name: card.about for card in CARDS}
ENDS_JOBS = frozenset(card.name for card in CARDS if card.ends_jobs)
