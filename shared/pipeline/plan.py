"""Step plan: merge the parts into the member list of this audience, and list who is left out and why."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from operator import add
from tempfile import SpooledTemporaryFile
from typing import IO

from shared.dataverse.schema import Audience as Column
from shared.domain.jobs import Job, Step, Tallies
from shared.domain.member_lists import Piece, merge
from shared.domain.parts import ID_SIZE, LEFT_OUT_SIZE
from shared.domain.reasons import Reason
from shared.errors import ConfigurationWrong
from shared.logs import get_logger
from shared.pipeline import files as names
from shared.pipeline.moves import Move, Progress
from shared.ports import Files, Records

logger = get_logger(__name__)

_IN_MEMORY = 1_000_000
_LINES_AT_ONCE = 5_000
_HELD_AT_ONCE = 400_000  # members; 48 bytes each
_ID = b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx\n"
_ID_PLACES = [place for place, sign in enumerate(_ID) if sign == ord("x")][::2]


class Plan:
    """Merges in bounded memory. The same parts give the same list, so it may be repeated."""

    def __init__(self, files: Files, records: Records, *, left_out_limit: int) -> None:
        """List at most `left_out_limit` members left out on the row; 0 lists none."""
        self._files, self._records, self._left_out_limit = files, records, left_out_limit

    def __call__(self, job: Job, progress: Progress, until: datetime) -> Move:  # noqa: ARG002  every step takes these
        """Move to wait with the tallies known."""
        folder = job.folder()
        parts = [self._files.open(f"{folder}/{names.part(number)}") for number in range(job.parts)]
        opted_out = [self._files.open(f"{folder}/{names.opted_out(number)}") for number in range(job.opted_out_parts)]
        with SpooledTemporaryFile(max_size=_IN_MEMORY) as left_out:
            sink = _Sink(left_out)
            self._files.write(f"{folder}/{names.MEMBER_LIST}", sink.digests(merge(parts, opted_out, _HELD_AT_ONCE)))
            self._attach(job, left_out)
        tallies = sink.tallies
        logger.info("Planned the audience", extra={"action": "audience-planned", "job": job.id, "eligible": tallies.eligible})
        return Move(replace(job, tallies=tallies).moved_to(Step.WAIT).showing(_shown(tallies)))

    def _attach(self, job: Job, left_out: IO[bytes]) -> None:
        """Keep the list on the row; a row that cannot take files does not stop the job."""
        length = left_out.tell()
        if not length or not self._left_out_limit:
            return
        left_out.seek(0)
        base = job.segment.base if job.segment else "contact"
        try:
            self._records.attach_left_out(job.id, left_out_lines(left_out, base, self._left_out_limit))
        except ConfigurationWrong as error:
            logger.warning(
                "The list of members left out could not be stored", extra={"action": "left-out-not-stored", "reason": str(error)}
            )


class _Sink:
    """Lets digests through to one file and puts what is left out into another."""

    def __init__(self, left_out: IO[bytes]) -> None:
        self._left_out = left_out
        self.tallies = Tallies()

    def digests(self, pieces: Iterator[Piece]) -> Iterator[bytes]:
        for piece in pieces:
            self._left_out.write(piece.left_out)
            self.tallies = piece.tallies
            if piece.digests:
                yield piece.digests


def left_out_lines(left_out: IO[bytes], base: str, limit: int) -> Iterator[bytes]:
    """Yield a CSV file (UTF-8 with BOM, so that Excel reads it) of members left out: id, reason, explanation.

    After `limit` members a last line says how many more there are.
    """
    endings = {reason.value: f",{reason.word},{_quoted(reason.sentence)}\r\n" for reason in Reason}
    yield f"\ufeff{base}id,reason,explanation\r\n".encode()
    written = 0
    while records := left_out.read(LEFT_OUT_SIZE * _LINES_AT_ONCE):
        count = len(records) // LEFT_OUT_SIZE
        take = records[: max(0, min(count, limit - written)) * LEFT_OUT_SIZE]
        reasons = map(endings.__getitem__, take[ID_SIZE::LEFT_OUT_SIZE])
        yield "".join(map(add, _written_ids(take), reasons)).encode()
        written += count
    if written > limit:
        yield f"and {written - limit} more,,\r\n".encode()


def _written_ids(records: bytes) -> list[str]:
    """Return the ids of members left out as GUIDs, written digit by digit into a pattern, all at once."""
    text = bytearray(_ID * (len(records) // LEFT_OUT_SIZE))
    for byte, place in enumerate(_ID_PLACES):
        digits = records[byte::LEFT_OUT_SIZE].hex().encode()
        text[place :: len(_ID)], text[place + 1 :: len(_ID)] = digits[::2], digits[1::2]
    return text.decode("ascii").split()


def _quoted(sentence: str) -> str:
    return '"' + sentence.replace('"', '""') + '"'


def _shown(tallies: Tallies) -> dict[str, int]:
    return {
        Column.MEMBERS: tallies.members,
        Column.NO_EMAIL: tallies.no_email,
        Column.INVALID: tallies.invalid,
        Column.DUPLICATE: tallies.duplicate,
        Column.OPTED_OUT: tallies.opted_out,
        Column.INACTIVE: tallies.inactive,
        Column.ELIGIBLE: tallies.eligible,
        Column.PROGRESS: 50,
    }
