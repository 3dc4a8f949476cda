"""What could only be known by asking: tables that exist here, and whether member lists of real-time segments answer.

Microsoft documents neither which privilege `msdynmkt_MembersList` needs, nor whether an application user may call it, nor how
long its answer may be. So it is called once, for a small segment, and what came back is told.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from shared.dataverse.schema import SEGMENT_TABLES
from solution.environment import Environment
from solution.web import InstallError, Refused, Web, first, rows

CONSENT = "msdynmkt_contactpointconsent4"
_SEGMENT = "msdynmkt_segment"
_COUNTED = 5_000
# Active, real-time segments with a few members; the smallest says as much as the largest.
_SMALLEST = (
    "msdynmkt_segments?$select=msdynmkt_segmentid,msdynmkt_sourcesegmentuid,msdynmkt_membercount"
    "&$filter=msdynmkt_source eq 12 and statuscode eq 1 and msdynmkt_membercount gt 0&$orderby=msdynmkt_membercount asc&$top=1"
)


@dataclass(frozen=True)
class MemberLists:
    """What a call of MembersList told: whether it answers, in a sentence, and which id it wants (empty: not known)."""

    answers: bool | None
    sentence: str
    id_kind: str = ""


def describe(environment: Environment) -> list[tuple[str, str]]:
    """Return what was found and what follows from it, as pairs of what and why."""
    found = [("segment tables", ", ".join(environment.segment_tables()) or "none")]
    missing = [table for table in SEGMENT_TABLES if table not in environment.tables]
    if missing:
        found.append(("tables that are not here", f"{', '.join(missing)}; nothing is installed on them"))
    if CONSENT in environment.tables:
        found.append(("consent", f"{CONSENT} is here; people who opted out are left out"))
    else:
        found.append(("consent", f"{CONSENT} is not here; only the columns of contacts and leads decide who is left out"))
    spoken = ", ".join(str(one) for one in environment.languages.spoken())
    found.append(("languages", f"labels are written in {spoken}"))
    return found


def try_member_lists(web: Web, environment: Environment, app_user_id: str = "") -> MemberLists:
    """Call MembersList for the smallest live segment, in the name of the app's user where that is possible; only reads."""
    if _SEGMENT not in environment.tables:
        return MemberLists(None, "There are no real-time segments in this environment.")
    try:
        segment = first(web, _SMALLEST)
    except Refused as refused:
        return MemberLists(None, f"It could not be tried, because segments could not be listed. {refused}")
    if segment is None:
        return MemberLists(None, "No real-time segment with members was found to try it with.")
    if app_user_id:
        try:
            return _tried(web.acting_as(app_user_id), segment, "as the app")
        except CannotActForOthers:
            pass
    return _tried(web, segment, "as you, because acting for the app is not possible" if app_user_id else "as you")


class CannotActForOthers(Exception):  # noqa: N818 - named after what is not possible
    """The environment, or the signed-in person's roles, do not allow to ask in the name of the app."""


def _tried(web: Web, segment: Mapping[str, Any], who: str) -> MemberLists:
    """Ask with the segment's own id, then with its definition's: the documentation has changed its mind about which it is."""
    if web.dry:
        return MemberLists(None, "It is not asked in a rehearsal.")
    ids = (("segment", segment["msdynmkt_segmentid"]), ("definition", segment.get("msdynmkt_sourcesegmentuid")))
    refusals = []
    for kind, row_id in ids:
        if row_id:
            answer = _ask(web, str(row_id))
            if not isinstance(answer, str):
                return _read(kind, answer, segment.get("msdynmkt_membercount"), who)
            refusals.append(f"with the {kind}'s id: {answer}")
    return MemberLists(False, f"Asked {who}, it does not answer; {'; '.join(refusals)}")


def _ask(web: Web, segment_id: str) -> Mapping[str, Any] | str:
    """Return MembersList's inner answer, or a sentence that says why there is none."""
    try:
        body = web.post("msdynmkt_MembersList", {"SegmentId": segment_id.strip("{}")}).body or {}
    except Refused as refused:
        if refused.fault.status == HTTPStatus.NOT_IMPLEMENTED or "ActOnBehalfOf" in refused.fault.message:
            raise CannotActForOthers from refused
        return str(refused)
    except InstallError as error:
        return str(error)
    if body.get("StatusCode") != HTTPStatus.OK:
        return f"it answered with the inner status {body.get('StatusCode')}"
    try:
        inner: Mapping[str, Any] = json.loads(body.get("ResultText") or "")
    except ValueError:
        return "its ResultText is not JSON"
    return inner


def _read(kind: str, answer: Mapping[str, Any], counted: Any, who: str) -> MemberLists:
    members = [one for part in answer.get("members") or () for one in str(part).split(",") if one.strip()]
    total = answer.get("totalCount")
    told = f"{len(members)} members with the {kind}'s id, and the record counts {counted}"
    if isinstance(total, int) and total > len(members):
        return MemberLists(False, f"Asked {who}, it keeps members back: {told}, and it says there are {total}.", kind)
    return MemberLists(True, f"Asked {who}, it answers: {told}.", kind)


def count_rows(web: Web, table_set: str, key: str) -> str:
    """Return how many rows a table has, in words; none when there is no such table, and beyond 5,000 not exactly."""
    counted = len(rows(web, f"{table_set}?$select={key}&$top={_COUNTED}"))
    return f"{counted:,}" if counted < _COUNTED else f"{counted:,} or more"
