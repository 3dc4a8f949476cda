"""Our rows in Dataverse and the result columns of segment records. Names come from `schema.py` only."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.dataverse import protocol
from shared.dataverse.client import DataverseClient
from shared.dataverse.protocol import NotInstalled, PlugInThrew
from shared.dataverse.schema import (
    AUDIENCE_SET,
    AUDIENCE_SIGN_IN_USER_NAVIGATION,
    LIVE_SET_BY_NAVIGATION,
    SEGMENT_TABLES,
    SIGN_IN_SET,
    Audience,
    Origin,
    Result,
    SignIn,
    Status,
)
from shared.dataverse.segments import is_live
from shared.domain.audiences import Request
from shared.domain.segments import SegmentRef
from shared.errors import RowGone
from shared.logs import get_logger
from shared.ports import LiveMark, SignInRequest

logger = get_logger(__name__)

LEFT_OUT_NAME = "left-out.csv"
_OWNER = "_ownerid_value"
_NAVIGATIONS = {Audience.SIGN_IN_USER: AUDIENCE_SIGN_IN_USER_NAVIGATION, Result.LIVE_SET_BY: LIVE_SET_BY_NAVIGATION}
_ASKED = (
    Audience.NAME,
    Audience.SEGMENT_TABLE,
    Audience.SEGMENT_ID,
    Audience.SEGMENT_NAME,
    Audience.STATUS,
    Audience.COMMAND,
    Audience.COMMAND_ID,
    Audience.ORIGIN,
    Audience.SMALL_CONFIRMED,
    Audience.AD_ACCOUNT,
    Audience.AD_ACCOUNT_NAME,
    Audience.CORRELATION,
)
_MARK = (Result.CREATE_WHEN_LIVE, Result.LIVE_AD_ACCOUNT, Result.LIVE_AD_ACCOUNT_NAME)


class DataverseRecords:
    """The records of one environment (`ports.Records`); used by several threads."""

    def __init__(self, client: DataverseClient, *, live_statuses: frozenset[int]) -> None:
        """Read and write over `client`; `live_statuses` are the status values of a live real-time segment."""
        self._client, self._live_statuses = client, live_statuses
        self._without_columns: set[str] = set()
        self._lock = threading.Lock()

    # -------------------------------------------------------------- audience rows

    def read_request(self, row_id: str) -> Request | None:
        """Return what an audience row asks for; None when the row is gone."""
        columns = (*_ASKED, _OWNER, _lookup(Audience.SIGN_IN_USER))
        path = protocol.query(protocol.row(AUDIENCE_SET, row_id), select=columns)
        found = self._client.row(path, f"read the audience row {row_id}")
        return None if found is None else _request(row_id, found)

    def update_audience(self, row_id: str, changes: Mapping[str, Any], *, etag: str | None = None) -> None:
        """Write columns of an audience row; SomebodyElseChangedIt when `etag` is not its version, RowGone when it was deleted."""
        self._update(AUDIENCE_SET, row_id, changes, etag)

    def create_audience(self, row_id: str, values: Mapping[str, Any], *, owner: str | None) -> bool:
        """Create an audience row under this id, owned by `owner`; False when it is there already."""
        body = {Audience.ID: protocol.guid(row_id), **_body(values)}
        if owner:
            body["ownerid@odata.bind"] = "/" + protocol.row("systemusers", owner)
        return self._client.create(AUDIENCE_SET, body, f"create the audience row {row_id}") is not None

    def attach_left_out(self, row_id: str, content: Iterable[bytes]) -> None:
        """Store the list of members left out in the row's file column; a list too long for the column is passed over."""
        path = f"{protocol.row(AUDIENCE_SET, row_id)}/{Audience.LEFT_OUT}"
        if not self._client.upload(path, content, LEFT_OUT_NAME, f"store the list of members left out of row {row_id}"):
            logger.warning(
                "The list of members left out is too long for its column", extra={"action": "left-out-too-long", "row": row_id}
            )

    def forget_left_out(self, before: datetime) -> int:
        """Delete the lists of members left out from rows that have not changed since a moment; return how many.

        Whether there is a list is asked of the column with its name, which every file column has beside it (Learn: Use
        file column data).
        """
        asked = f"{Audience.LEFT_OUT}_name ne null and modifiedon lt {protocol.moment(before)}"
        path = protocol.query(AUDIENCE_SET, select=[Audience.ID], filter=asked)
        found = list(_ids_in(self._client.rows(path, "look for old lists of members left out"), Audience.ID))
        for row_id in found:
            of_row = protocol.row(AUDIENCE_SET, row_id)
            self._client.delete(f"{of_row}/{Audience.LEFT_OUT}", f"delete the list of members left out of row {row_id}")
        return len(found)

    def pending_audiences(self, since: datetime) -> list[str]:
        """Return ids of audience rows with an untaken command that changed after `since`."""
        return self._pending(AUDIENCE_SET, Audience.ID, Audience.COMMAND, since)

    # -------------------------------------------------------------- sign-in rows

    def pending_sign_ins(self, since: datetime) -> list[str]:
        """Return ids of sign-in rows with an untaken command that changed after `since`."""
        return self._pending(SIGN_IN_SET, SignIn.ID, SignIn.COMMAND, since)

    def read_sign_in_request(self, row_id: str) -> SignInRequest | None:
        """Return what a sign-in row asks for; None when the row is gone."""
        columns = (SignIn.STATUS, SignIn.COMMAND, SignIn.COMMAND_ID, _OWNER)
        path = protocol.query(protocol.row(SIGN_IN_SET, row_id), select=columns)
        found = self._client.row(path, f"read the sign-in row {row_id}")
        if found is None:
            return None
        return SignInRequest(
            row_id=row_id,
            etag=_text(found.get("@odata.etag")),
            owner=_text(found.get(_OWNER)),
            status=_number(found.get(SignIn.STATUS)),
            command=_number(found.get(SignIn.COMMAND)),
            command_id=_text(found.get(SignIn.COMMAND_ID)),
        )

    def sign_in_row_of(self, user_id: str) -> str | None:
        """Return the id of the user's newest sign-in row; None when there is none."""
        path = protocol.query(
            SIGN_IN_SET, select=[SignIn.ID], filter=f"{_OWNER} eq {protocol.guid(user_id)}", orderby="createdon desc", top=1
        )
        return next(_ids_in(self._client.rows(path, "look for a user's sign-in row"), SignIn.ID), None)

    def update_sign_in(self, row_id: str, changes: Mapping[str, Any], *, etag: str | None = None) -> None:
        """Write columns of a sign-in row; as `update_audience`."""
        self._update(SIGN_IN_SET, row_id, changes, etag)

    # -------------------------------------------------------------- segment records

    def write_result(self, ref: SegmentRef, changes: Mapping[str, Any]) -> None:
        """Write result columns of the segment record; a record or columns that are not there are passed over."""
        if ref.table not in SEGMENT_TABLES or ref.table in self._without_columns or protocol.as_guid(ref.id) is None:
            return
        path = protocol.row(SEGMENT_TABLES[ref.table][0], ref.id)
        try:
            written = self._client.update(path, _body(changes), f"write the result to {ref.table} {ref.id}")
        except NotInstalled as error:
            self._note_missing_columns(ref.table, error)
        except PlugInThrew as error:
            logger.warning(
                "The segment record refused the result",
                extra={"action": "result-refused", "table": ref.table, "segment": ref.id, "reason": str(error)},
            )
        else:
            if not written:
                logger.info("The segment record is gone", extra={"action": "segment-gone", "table": ref.table, "segment": ref.id})

    def live_mark(self, ref: SegmentRef) -> LiveMark | None:
        """Return the going-live mark of a segment record; None when the record (or the mark's columns) is gone."""
        if ref.table not in SEGMENT_TABLES or ref.table in self._without_columns:
            return None
        table_set, _, name, live = SEGMENT_TABLES[ref.table]
        columns = (name, live, "modifiedon", *_MARK, _lookup(Result.LIVE_SET_BY))
        try:
            found = self._client.row(
                protocol.query(protocol.row(table_set, ref.id), select=columns), f"read {ref.table} {ref.id}"
            )
        except NotInstalled as error:
            self._note_missing_columns(ref.table, error)
            return None
        if found is None:
            return None
        return LiveMark(
            wanted=found.get(Result.CREATE_WHEN_LIVE) is True,
            is_live=is_live(ref.table, _number(found.get(live)), self._live_statuses),
            ad_account=_text(found.get(Result.LIVE_AD_ACCOUNT)),
            ad_account_name=_text(found.get(Result.LIVE_AD_ACCOUNT_NAME)),
            set_by=protocol.as_guid(found.get(_lookup(Result.LIVE_SET_BY))),
            segment_name=_text(found.get(name)),
            version=_text(found.get("modifiedon")),
        )

    def went_live_since(self, ref: SegmentRef, since: datetime) -> bool:
        """Tell whether this segment's going live has made an audience row since a moment."""
        asked = (
            f"{Audience.SEGMENT_ID} eq {protocol.quoted(ref.id)} and {Audience.ORIGIN} eq {Origin.WENT_LIVE:d}"
            f" and createdon ge {protocol.moment(since)}"
        )
        path = protocol.query(AUDIENCE_SET, select=(Audience.ID,), filter=asked)
        return any(True for _ in self._client.rows(path, "look for audience rows of a segment"))

    # -------------------------------------------------------------- helpers

    def _update(self, table_set: str, row_id: str, changes: Mapping[str, Any], etag: str | None) -> None:
        path = protocol.row(table_set, row_id)
        if not self._client.update(path, _body(changes), f"write to {path}", etag=etag or "*"):
            raise RowGone(f"The row {row_id} was deleted.")

    def _pending(self, table_set: str, key: str, command: str, since: datetime) -> list[str]:
        asked = f"{command} ne null and modifiedon ge {protocol.moment(since)}"
        path = protocol.query(table_set, select=[key], filter=asked)
        return list(_ids_in(self._client.rows(path, f"look for commands in {table_set}"), key))

    def _note_missing_columns(self, table: str, error: NotInstalled) -> None:
        with self._lock:
            is_news = table not in self._without_columns
            self._without_columns.add(table)
        if is_news:
            logger.warning(
                "This segment table has no result columns; nothing is written to its records",
                extra={"action": "result-columns-missing", "table": table, "reason": str(error)},
            )


def _ids_in(rows: Iterable[Mapping[str, Any]], key: str) -> Iterator[str]:
    """Return the ids of rows; a row that names none is passed over."""
    return filter(None, (protocol.as_guid(row.get(key)) for row in rows))


def _request(row_id: str, found: Mapping[str, Any]) -> Request:
    return Request(
        row_id=row_id,
        etag=_text(found.get("@odata.etag")),
        name=_text(found.get(Audience.NAME)),
        segment_table=_text(found.get(Audience.SEGMENT_TABLE)),
        segment_id=_text(found.get(Audience.SEGMENT_ID)),
        segment_name=_text(found.get(Audience.SEGMENT_NAME)),
        status=_number(found.get(Audience.STATUS)) or Status.REQUESTED,
        command=_number(found.get(Audience.COMMAND)),
        command_id=_text(found.get(Audience.COMMAND_ID)),
        origin=_number(found.get(Audience.ORIGIN)),
        small_confirmed=found.get(Audience.SMALL_CONFIRMED) is True,
        owner=_text(found.get(_OWNER)),
        sign_in_user=protocol.as_guid(found.get(_lookup(Audience.SIGN_IN_USER))),
        ad_account=_text(found.get(Audience.AD_ACCOUNT)),
        ad_account_name=_text(found.get(Audience.AD_ACCOUNT_NAME)),
        correlation=_text(found.get(Audience.CORRELATION)),
    )


def _body(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes as a request body takes them: lookups by navigation property, bound to a user or to nothing."""
    return dict(_written(str(name), value) for name, value in changes.items())


def _written(name: str, value: Any) -> tuple[str, Any]:
    navigation = _NAVIGATIONS.get(name)  # type: ignore[call-overload]  # a StrEnum is found by its text
    if navigation is None:
        return name, value
    return f"{navigation}@odata.bind", "/" + protocol.row("systemusers", str(value)) if value else None


def _lookup(column: StrEnum) -> str:
    """Return the property under which a lookup's id is read."""
    return f"_{column}_value"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
