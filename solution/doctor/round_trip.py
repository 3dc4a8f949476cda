"""One test row on the whole way: Dataverse, webhook, queue, worker, and back to Dataverse."""

import time
from collections.abc import Iterator
from uuid import uuid4

from shared.dataverse.schema import AUDIENCE_SET, Audience, Command, Origin, Status
from solution.check import Finding
from solution.web import InstallError, Web, find

PIECE = "round trip"
_NOBODY = "00000000-0000-0000-0000-00000000d0c7"  # a segment that does not exist
_LOOK_EVERY = 0.5


def round_trip(web: Web, patience: float) -> Iterator[Finding]:
    """Create a row that asks for a segment which does not exist, wait until the app has refused it, delete the row."""
    row_id = str(uuid4())
    try:
        web.post(AUDIENCE_SET, _test_row(row_id))
    except InstallError as error:
        yield Finding("wrong", PIECE, f"The test row could not be made: {error}", "Install the solution first.")
        return
    try:
        yield _outcome(web, row_id, patience)
    finally:
        web.delete(f"{AUDIENCE_SET}({row_id})")


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
    while time.monotonic() - began < patience:
        row = find(web, f"{AUDIENCE_SET}({row_id})?$select={Audience.STATUS},{Audience.MESSAGE}") or {}
        status = row.get(Audience.STATUS)
        if status == Status.NOT_ALLOWED:
            return Finding(
                "fine", PIECE, f"A test row went through the app and came back in {time.monotonic() - began:.1f} seconds."
            )
        if status == Status.FAILED:
            return Finding(
                "wrong", PIECE, f"The app answered: {row.get(Audience.MESSAGE)}", "docs/operations.md explains the sentence."
            )
        time.sleep(_LOOK_EVERY)
    where = "The app never took it: look at the webhook's failed system jobs" if status is None else "It got stuck on its way"
    fix = "Compare the webhook's address and secret with the app's, and look at the app's log."
    return Finding("wrong", PIECE, f"The test row did not come back within {patience:.0f} seconds. {where}.", fix)
