"""The HTTP side of segments, their members, destinations and ad segments."""

from collections.abc import Iterable
from typing import Any

from werkzeug.wrappers import Response

from sandbox.linkedin import errors
from sandbox.linkedin.admission import Admission, Call, Handler, paged, projected
from sandbox.linkedin.limits import USERS
from sandbox.linkedin.members import Batch, read_batch, read_one
from sandbox.linkedin.state import Segment
from sandbox.web import Route, count_elements, json_response

_READERS = frozenset({"rw_dmp_segments", "rw_ads"})
_WRITERS = frozenset({"rw_dmp_segments"})
_AD_SEGMENT_READERS = _READERS | {"r_ads"}
_SEGMENTS = "/rest/dmpSegments"
_SEGMENT = rf"{_SEGMENTS}/(?P<segment_id>\d+)"
_DESTINATIONS = f"{_SEGMENT}/destinations"


class SegmentRoutes:
    """DMP segments and what belongs to them."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.state = admission.state

    def all(self) -> Iterable[Route]:
        """Return the routes; the first that matches answers."""
        guarded = self.admission.guarded

        def read(path: str, resource: str, handler: Handler, about: str) -> Route:
            return Route("GET", path, guarded(resource, _READERS, handler), about)

        def write(method: str, path: str, resource: str, handler: Handler, about: str) -> Route:
            return Route(method, path, guarded(resource, _WRITERS, handler), about)

        users = guarded(USERS, _WRITERS, self.stream_users, locked=False)  # it reads its large body before it takes the lock
        find_ad_segments = guarded("adSegments", _AD_SEGMENT_READERS, self.find_ad_segments)
        ad_segment = guarded("adSegments", _AD_SEGMENT_READERS, self.ad_segment)
        return [
            read(_SEGMENTS, "dmpSegments", self.find_segments, "segments by ids, or finder `account`"),
            write("POST", _SEGMENTS, "dmpSegments", self.create_segment, "create a segment"),
            write("DELETE", _SEGMENTS, "dmpSegments", self.delete_segments, "delete several segments"),
            read(_SEGMENT, "dmpSegments", self.segment, "one segment"),
            write("POST", _SEGMENT, "dmpSegments", self.update_segment, "PARTIAL_UPDATE of a segment"),
            write("DELETE", _SEGMENT, "dmpSegments", self.delete_segment, "delete a segment"),
            Route("POST", f"{_SEGMENT}/users", users, "members: BATCH_CREATE, or a single one"),
            read(_DESTINATIONS, "dmpSegments/destinations", self.destinations, "destinations of a segment"),
            write("POST", _DESTINATIONS, "dmpSegments/destinations", self.add_destination, "add the destination LINKEDIN"),
            read(f"{_DESTINATIONS}/LINKEDIN", "dmpSegments/destinations", self.destination, "the destination LINKEDIN"),
            Route("GET", "/rest/adSegments", find_ad_segments, "finder `accounts`: ad segments"),
            Route("GET", r"/rest/adSegments/(?P<number>\d+)", ad_segment, "one ad segment"),
        ]

    # Segments

    def create_segment(self, call: Call) -> Response:
        """Create a segment: 201, nothing in the body, the id in a header."""
        if call.query.get("action"):
            raise errors.bad_request("The action of dmpSegments is not imitated")
        spread = call.request.environ.get("sandbox.linkedin.spread")
        segment = self.state.create(call.person, call.body(), call.permission, spread)
        headers = {self.state.settings.created_id_header: str(segment.id), "Location": f"/dmpSegments/{segment.id}"}
        return json_response(None, 201, headers)

    def find_segments(self, call: Call) -> Response:
        """Answer with the segments of some ids, or of an ad account."""
        if "ids" in call.query:
            return self._segments_by_ids(call)
        account = call.query.get("account")
        if call.query.get("q") != "account" or not isinstance(account, str):
            raise errors.bad_request("The finder of dmpSegments is q=account with the parameter account")
        found: list[Segment] = []
        if self.state.role(call.person, account) is not None:
            found = self.state.of_account(account, call.query.get("sourcePlatform"), call.query.get("sourceSegmentId"))
        return paged(call, [self._segment(segment) for segment in found])

    def segment(self, call: Call, segment_id: str) -> Response:
        """Answer with one segment."""
        return json_response(projected(self._segment(self._readable(call, segment_id)), call))

    def update_segment(self, call: Call, segment_id: str) -> Response:
        """Change a segment."""
        if call.rest_method != "PARTIAL_UPDATE":
            raise errors.bad_request("A POST to a segment needs the header X-RestLi-Method: PARTIAL_UPDATE")
        segment = self._writable(call, segment_id)
        patch = call.body().get("patch")
        changes = patch.get("$set") if isinstance(patch, dict) and patch.keys() == {"$set"} else None
        if not isinstance(changes, dict):
            raise errors.bad_field("patch", "must hold $set")
        self.state.update(segment, changes)
        return json_response(None, 204)

    def delete_segment(self, call: Call, segment_id: str) -> Response:
        """Delete a segment; the second time it is a 404."""
        self.state.delete(self._writable(call, segment_id))
        return json_response(None, 204)

    def delete_segments(self, call: Call) -> Response:
        """Delete several segments, each with its own status."""
        results, problems = {}, {}
        for segment_id in _ids(call):
            try:
                self.state.delete(self._writable(call, segment_id))
                results[segment_id] = {"status": 204}
            except errors.LinkedInRefusal as refusal:
                problems[segment_id] = refusal.body
        return json_response({"results": results, "errors": problems})

    def _segments_by_ids(self, call: Call) -> Response:
        results, statuses, problems = {}, {}, {}
        for segment_id in _ids(call):
            try:
                results[segment_id] = projected(self._segment(self._readable(call, segment_id)), call)
                statuses[segment_id] = 200
            except errors.LinkedInRefusal as refusal:
                problems[segment_id], statuses[segment_id] = refusal.body, refusal.status
        return json_response({"results": results, "statuses": statuses, "errors": problems})

    def _readable(self, call: Call, segment_id: str) -> Segment:
        segment = self.state.settled(segment_id)
        self.state.check_reader(call.person, segment.account, call.permission)
        return segment

    def _writable(self, call: Call, segment_id: str) -> Segment:
        segment = self.state.settled(segment_id)
        self.state.check_writer(call.person, segment.account, call.permission)
        return segment

    def _segment(self, segment: Segment) -> dict[str, Any]:
        destination = self._destination(segment)
        shown: dict[str, Any] = {
            "id": segment.id,
            "name": segment.name,
            "type": segment.type,
            "sourcePlatform": segment.source_platform,
            "account": segment.account,
            "created": int(segment.created * 1000),
            "lastModified": int(segment.modified * 1000),
            "destinations": [destination],
        }
        if segment.source_segment_id is not None:
            shown["sourceSegmentId"] = segment.source_segment_id
        if segment.description is not None:
            shown["description"] = segment.description
        if destination["status"] != "BUILDING":
            shown["inputCount"] = self.state.input_count(segment)
        return shown

    # Destinations

    def destinations(self, call: Call, segment_id: str) -> Response:
        """Answer with a segment's only destination, as a list."""
        return paged(call, [self._destination(self._readable(call, segment_id))])

    def destination(self, call: Call, segment_id: str) -> Response:
        """Answer with a segment's only destination."""
        return json_response(self._destination(self._readable(call, segment_id)))

    def add_destination(self, call: Call, segment_id: str) -> Response:
        """Accept the destination that every segment has already."""
        self._writable(call, segment_id)
        if call.body() != {"destination": "LINKEDIN"}:
            raise errors.bad_field("destination", "only LINKEDIN is a destination")
        return json_response(None, 201, {"x-restli-id": "LINKEDIN"})

    def _destination(self, segment: Segment) -> dict[str, Any]:
        status = self.state.status(segment)
        shown: dict[str, Any] = {
            "destination": "LINKEDIN",
            "destinationSegmentId": f"urn:li:adSegment:{segment.ad_segment}",
            "status": status,
            "created": int(segment.created * 1000),
            "lastModified": int(segment.modified * 1000),
        }
        if status != "BUILDING":
            shown |= {"matchedCount": self.state.matched_count(segment), "audienceSize": self.state.audience_size(segment)}
        return shown

    # Members

    def stream_users(self, call: Call, segment_id: str) -> Response:
        """Accept members; 201 of an element says accepted, never matched."""
        body = call.request.get_data(cache=False)
        with self.state.lock:
            segment = self._writable(call, segment_id)
            self.state.check_open(segment)
        if call.rest_method == "BATCH_CREATE":
            return self._stream_batch(call, segment, body)
        change = read_one(body)
        count_elements(call.request, 1)
        with self.state.lock:
            self.state.apply_one(segment, change)
        return json_response(None, 201)

    def _stream_batch(self, call: Call, segment: Segment, body: bytes) -> Response:
        batch = read_batch(body, self.state.settings.most_elements)
        count_elements(call.request, len(batch))
        planned: dict[str, Any] = call.request.environ.get("sandbox.linkedin.elements", {})
        failed = _spread_positions(len(batch), planned.get("failing", 0))
        with self.state.lock:
            self.state.apply(segment, batch, failed)
        answers = _answers(batch, failed, planned)
        missing = planned.get("missing", 0)
        answers = answers[: len(answers) - missing] if missing >= 0 else answers + ['{"status":201}'] * -missing
        return json_response('{"elements":[' + ",".join(answers) + "]}")

    # Ad segments

    def find_ad_segments(self, call: Call) -> Response:
        """Answer with the ad segments of some ad accounts."""
        accounts = call.query.get("accounts")
        if call.query.get("q") != "accounts" or not accounts:
            raise errors.bad_request("The finder of adSegments is q=accounts with the parameter accounts")
        wanted = [accounts] if isinstance(accounts, str) else accounts
        reachable = [account for account in wanted if self.state.role(call.person, account) is not None]
        found = [segment for segment in self.state.segments.values() if segment.account in reachable]
        return paged(call, [self._ad_segment(segment) for segment in found])

    def ad_segment(self, call: Call, number: str) -> Response:
        """Answer with one ad segment."""
        found = next((segment for segment in self.state.segments.values() if segment.ad_segment == int(number)), None)
        if found is None:
            raise errors.LinkedInRefusal(404, "Entity not found", "NOT_FOUND", 0)
        self.state.check_reader(call.person, found.account, call.permission)
        return json_response(self._ad_segment(found))

    def _ad_segment(self, segment: Segment) -> dict[str, Any]:
        size = self.state.audience_size(segment)
        shown = {"id": segment.ad_segment, "name": segment.name, "account": segment.account}
        return shown | {"approximateMemberCount": size}


def _ids(call: Call) -> list[str]:
    ids = call.query.get("ids")
    if not isinstance(ids, list) or not all(isinstance(one, str) and one.isdecimal() for one in ids):
        raise errors.bad_request("Invalid value of ids: it must be List(...) with the brackets unencoded")
    return ids


def _spread_positions(size: int, failing: int) -> list[int]:
    """Return the positions of as many elements as are to fail, spread over the batch."""
    return sorted({position * size // failing for position in range(min(failing, size))}) if failing else []


def _answers(batch: Batch, failed: list[int], planned: dict[str, Any]) -> list[str]:
    answers = ['{"status":201}'] * len(batch)
    for position, change in enumerate(batch.changes or []):
        if change.problem:
            answers[position] = _failure(400, change.problem)
    for position in failed:
        answers[position] = _failure(planned.get("status", 400), planned.get("message", "Could not process the element"))
    return answers


def _failure(status: int, message: str) -> str:
    body: str = json_response({"status": status, "error": {"status": status, "message": message}}).get_data(as_text=True)
    return body
