"""What must be true after a wave, whatever has struck: every broken promise becomes a sentence."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.chaos.deck import DELETED, ENDS_JOBS, READY, TOO_SMALL
from sandbox.chaos.pool import Pool
from sandbox.chaos.stores import secrets_in
from sandbox.chaos.wave import Played, Watched

IN_FLIGHT = 1.2
_ANSWER_MARGIN = 0.3
_SHORTEST_PAUSE = 1.4  # the product's first pause is two seconds less a quarter
_WENT_AWAY = "ClientDisconnected"  # whoever is killed while sending
_THROTTLED = 429
_BATCH = 1_000

Problems = Iterator[str]


def problems_of(watched: Watched, pool: Pool) -> list[str]:
    """Return what is wrong with one run."""
    if watched.settled_at is None:
        return [_stuck(watched)]
    found = list(_the_ending(watched))
    if watched.end != DELETED:
        found += [*_the_places_agree(watched), *_the_tallies(watched)]
    return [*found, *_one_audience(watched), *_the_members(watched, pool)]


def problems_of_wave(played: Played) -> list[str]:
    """Return what is wrong with the wave as a whole."""
    checks: tuple[Callable[[Played], Problems], ...] = (
        _nothing_leaked,
        _no_poison,
        _no_defects,
        _failures_have_causes,
        _waits_are_honoured,
        _linkedin_is_left_in_peace,
        _calls_are_bounded,
        _rests_until_the_next_day,
    )
    return [problem for check in checks for problem in check(played)]


# ------------------------------------------------------------------ one run


def _stuck(watched: Watched) -> str:
    job = watched.job or {}
    inside = {name: job.get(name) for name in ("step", "attempts", "looks", "due", "owes_row", "owes_result", "fence", "cursor")}
    message = (watched.row or {}).get("lima_statusmessage")
    return f"is stuck: {watched.shown} instead of {watched.end}, saying {message!r}, the job being {inside if job else 'unknown'}"


def _the_ending(watched: Watched) -> Problems:
    if watched.shown != watched.end:
        yield f"ended as {watched.shown} instead of {watched.end}"
    if watched.end == DELETED:
        if watched.job is not None:
            yield "the row was deleted, but its job is still remembered"
        if watched.files:
            yield f"the row was deleted, but {len(watched.files)} files of its job are left"
        return
    row = watched.row or {}
    if not str(row.get("lima_statusmessage") or "").strip().endswith("."):
        yield f"has no sentence for the person, but {row.get('lima_statusmessage')!r}"
    if any(not message.strip().endswith(".") for message in watched.failures):
        yield "failed without a sentence for the person"


def _the_places_agree(watched: Watched) -> Problems:
    row, record, job = watched.row or {}, watched.record, watched.job
    if job is None:
        yield "has a row, but the engine forgot the job"
        return
    if job["step"] not in ("watch", "done") or job["owes_row"] or job["owes_result"]:
        yield f"is at its end, but the engine is at {job['step']} (owes row: {job['owes_row']}, result: {job['owes_result']})"
    for name, value in job["shown"].items():
        if name in row and _plain(row[name]) != _plain(value):
            yield f"the row says {row[name]!r} in {name}, the engine {value!r}"
    pairs = {
        "status": "status",
        "message": "statusmessage",
        "audienceid": "linkedinaudienceid",
        "sent": "sent",
        "size": "audiencesize",
    }
    for there, here in pairs.items():
        told, shown = record.get(f"lima_linkedin{there}"), row.get(f"lima_{here}")
        if _plain(told) != _plain(shown):
            yield f"the segment record says {told!r} in {there}, the row {shown!r}"


def _the_tallies(watched: Watched) -> Problems:
    if watched.shown != READY:
        return
    row = watched.row or {}
    named = ("noemail", "invalid", "duplicate", "optedout", "inactive", "eligible")
    parts = [row.get(f"lima_{name}") or 0 for name in named]
    if sum(parts) != row.get("lima_members"):
        yield f"the tallies add up to {sum(parts)}, not to the {row.get('lima_members')} members"
    if (row.get("lima_sent") or 0) + (row.get("lima_refused") or 0) != row.get("lima_eligible"):
        yield f"{row.get('lima_sent')} sent and {row.get('lima_refused')} refused are not {row.get('lima_eligible')} eligible"


def _one_audience(watched: Watched) -> Problems:
    least = 1 if watched.end == READY else 0
    most = 0 if watched.end == TOO_SMALL else 1
    if not least <= len(watched.audiences) <= most:
        yield f"has {len(watched.audiences)} audiences at LinkedIn"
    named = str((watched.row or {}).get("lima_linkedinaudienceid"))
    if watched.end == READY and named not in [str(one["id"]) for one in watched.audiences]:
        yield f"the row names the audience {named}, which is not the job's"


def _the_members(watched: Watched, pool: Pool) -> Problems:
    """Hold that everybody who was a member throughout is in, and nobody who never was, but for those LinkedIn refused."""
    present = set(watched.members)
    most = pool.allowed(present | watched.added)
    least = pool.allowed(present - watched.removed)
    held = set(watched.held)
    if extra := len(held - most):
        yield f"the audience holds {extra} members that the segment never allowed"
    missing = len(least - held)
    refused = (watched.row or {}).get("lima_refused") or 0
    if watched.end == READY and missing > refused:
        yield f"the audience lacks {missing} of {len(least)} members, with {refused} refused by LinkedIn"


def _plain(value: Any) -> Any:
    """Return a value as it can be compared: moments to the second, numbers as they are."""
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        return datetime.fromisoformat(value).replace(microsecond=0)
    return round(value, 2) if isinstance(value, float) else value


# ------------------------------------------------------------------ the wave


def _nothing_leaked(played: Played) -> Problems:
    for where, content in (*played.stored, ("the app's log", played.log.encode())):
        for found in secrets_in(content, played.forbidden):
            yield f"{where} holds {found}"
    for call in played.linkedin_calls:
        for found in secrets_in(f"{call['path']}?{call['query']}".encode(), played.forbidden):
            yield f"a request to LinkedIn ({call['method']} {call['path']}) carries {found}"
    if played.addresses_seen:
        yield f"{len(played.addresses_seen)} requests to LinkedIn carried an at sign"


def _no_poison(played: Played) -> Problems:
    if played.poisoned:
        yield f"{played.poisoned} messages are left in the poison queue"
    failed = {watched.row_id for watched in played.runs if watched.failures}
    for line in _lines(played.log, "message-poisoned"):
        if line.get("job") not in failed and line.get("kind") == "audience":
            yield f"a message of job {line.get('job')} was given up, but the job was not marked Failed"


def _no_defects(played: Played) -> Problems:
    for line in _lines(played.log, "step-defect"):
        last = str(line.get("error", "")).strip().splitlines()[-1:]
        yield f"step {line.get('step')} of job {line.get('job')} failed in a way nobody foresaw: {last}"
    for name, log in played.simulators.items():
        for trace in log.split("Traceback (most recent call last):\n")[1:]:
            ending = ([line for line in trace.splitlines() if line and not line.startswith(" ")] or [""])[0]
            if _WENT_AWAY not in ending:
                yield f"the simulator of {name} failed itself: {ending}"


def _failures_have_causes(played: Played) -> Problems:
    causes = sum(played.struck[card] for card in ENDS_JOBS)
    failures = [(watched.run.number, message) for watched in played.runs for message in watched.failures]
    if len(failures) > causes:
        yield f"{len(failures)} jobs failed with {causes} strikes that end jobs: {failures}"


def _waits_are_honoured(played: Played) -> Problems:
    """Hold that after a 429 with Retry-After nothing of the same work comes before its time, but for what was under way."""
    overlaps = played.struck["message-twice"] + played.starts
    broken = 0
    for number, call in enumerate(played.dataverse_calls):
        if call["status"] != _THROTTLED or not call["request_id"] or call["fault"] is None:
            continue
        until = call["at"] + 3.0 - _ANSWER_MARGIN
        after = (c for c in played.dataverse_calls[number + 1 :] if c["request_id"] == call["request_id"])
        broken += any(call["at"] + IN_FLIGHT < later["at"] < until for later in after)
    if broken > overlaps:
        yield f"{broken} times Dataverse was asked again before its Retry-After had passed ({overlaps} overlapping runs)"


def _linkedin_is_left_in_peace(played: Played) -> Problems:
    """Hold that after a 429 a batch is not sent again before the first pause is over, but for what was under way."""
    if played.plan.has("linkedin-daily-quota"):
        return  # there the harness lets time pass
    overlaps = played.struck["message-twice"] + played.starts
    by_path: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for call in played.linkedin_calls:
        by_path[call["path"]].append(call)
    broken = sum(
        any(call["at"] + IN_FLIGHT < later["at"] < call["at"] + _SHORTEST_PAUSE for later in calls[number + 1 :])
        for path, calls in by_path.items()
        if path.endswith("/users")
        for number, call in enumerate(calls)
        if call["status"] == _THROTTLED
    )
    if broken > overlaps:
        yield f"{broken} times LinkedIn was asked again at once after a 429"


def _calls_are_bounded(played: Played) -> Problems:
    """Hold that a strike costs some repeated requests, never a storm."""
    strikes = sum(played.struck.values()) + 2 * played.starts
    batches = sum(math.ceil(watched.run.members / _BATCH) for watched in played.runs)
    pages = sum(math.ceil(watched.run.members / 500) for watched in played.runs)
    most_linkedin = 15 * len(played.runs) + 2 * batches + 12 * strikes + int(played.seconds)
    most_dataverse = 40 * len(played.runs) + 2 * pages + 40 * strikes + 4 * int(played.seconds)
    if len(played.linkedin_calls) > most_linkedin:
        yield f"LinkedIn was called {len(played.linkedin_calls)} times; {most_linkedin} are the most for {strikes} strikes"
    theirs = [call for call in played.dataverse_calls if call["request_id"]]
    if len(theirs) > most_dataverse:
        yield f"Dataverse was called {len(theirs)} times; {most_dataverse} are the most for {strikes} strikes"


def _rests_until_the_next_day(played: Played) -> Problems:
    for parked in played.parked:
        due = datetime.fromisoformat(parked["due"]).astimezone(UTC)
        since_midnight = due - due.replace(hour=0, minute=0, second=0, microsecond=0)
        if not timedelta(minutes=4) <= since_midnight <= timedelta(minutes=17):
            yield f"run {parked['run']} rests until {due:%H:%M:%S} UTC instead of shortly after midnight"
        if "quota" not in str(parked["message"]):
            yield f"run {parked['run']} rests until the next day, but its row says {parked['message']!r}"


def _lines(log: str, action: str) -> Iterator[dict[str, Any]]:
    for line in log.splitlines():
        if f'"{action}"' in line:
            try:
                yield json.loads(line)
            except ValueError:
                continue
