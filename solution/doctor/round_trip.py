"""One test row on the whole way: Dataverse, webhook, queue, worker, and back to Dataverse."""

import time
from collections.abc import Iterator
from uuid import uuid4

from shared.dataverse.schema import AUDIENCE_SET, Audience, Command, Origin, Status
from solution.check import Finding
from solution.web import InstallError, Refused, Web, find

PIECE = "round trip"
_NOBODY = "00000000-0000-0000-0000-00000000d0c7"  # a segment that does not exist
_LOOK_EVERY = 0.5


def round_trip(web: Web, patience: float) -> Iterator[Finding]:
    """Create a row that asks for a segment which does not exist, wait until the app has refused it, delete the row."""
    row_id = str(uuid4())
    try:
        found = _travelled(web, row_id, patience)
    finally:
        left = _deleted(web, row_id)
    yield found
    yield from left


def _travelled(web: Web, row_id: str, patience: float) -> Finding:
    try:
        web.post(AUDIENCE_SET, _test_row(row_id))
    except InstallError as error:
        missing = isinstance(error, Refused) and error.is_missing
        fix = "Install the solution first." if missing else "Run it again, signed in as an administrator of the environment."
        return Finding("wrong", PIECE, f"The test row could not be made: {error}", fix)
    try:
        return _outcome(web, row_id, patience)
    except InstallError as error:
        return Finding("wrong", PIECE, f"The test row could not be watched: {error}", "Run it again.")


def _deleted(web: Web, row_id: str) -> list[Finding]:
    """Delete the row, which may be there even when nobody heard that it was made; say so when that does not work."""
    try:
        web.delete(f"{AUDIENCE_SET}({row_id})")
    except InstallError as error:
        return [Finding("note", "test row", f"The row {row_id} could not be deleted: {error}", "Delete it in Dynamics.")]
    return []


def _test_row(row_id: str) -> dict[str, object]:
    return {
        Audience.ID: row_id,
        Audience.NAME: "Test row of the doctor; deleted by itself",
        Audience.SEGMENT_TABLE: "list",
        Audience.SEGMENT_ID: _NOBODY,
        Audience.COMMAND: int(Command.CHECK),
        Audience.COMMAND_ID: str(uuid4()),
        Audience.ORIGIN: int(Origin.AUTOMATION),
    }


def _outcome(web: Web, row_id: str, patience: float) -> Finding:
    began = time.monotonic()
    status = None
    while (passed := time.monotonic() - began) < patience:
        row = find(web, f"{AUDIENCE_SET}({row_id})?$select={Audience.STATUS},{Audience.MESSAGE}") or {}
        status = row.get(Audience.STATUS)
        if status == Status.NOT_ALLOWED:
            return Finding("fine", PIECE, f"A test row went through the app and came back in {passed:.1f} seconds.")
        if status == Status.FAILED:
            says = f"A test row came back, and not as it should: {row.get(Audience.MESSAGE)}"
            return Finding("wrong", PIECE, says, "docs/operations.md explains the sentence.")
        time.sleep(_LOOK_EVERY)
    says = f"The test row did not come back within {patience:.0f} seconds."
    if status in (None, Status.REQUESTED):
        fix = "Look at the webhook's failed system jobs, and compare its address and secret with the app's."
        return Finding("wrong", PIECE, f"{says} The app has not taken it.", fix)
    return Finding("wrong", PIECE, f"{says} The app has taken it and got stuck.", "Look at the app's log.")
