"""Members as Dataverse answers with them: one page of rows, decoded to the few columns that are needed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, cast

import msgspec

from shared.errors import UnexpectedAnswer

COLUMNS = ("emailaddress1", "donotemail", "donotbulkemail", "statecode")


class MemberRow(Protocol):
    """One member as Dataverse keeps it. None: Dataverse did not say. Shows nothing of itself in a repr."""

    id: str
    emailaddress1: str | None
    donotemail: bool | None
    donotbulkemail: bool | None
    statecode: int | None


class MemberRows:
    """The members of one page, as read; their addresses never show in a repr."""

    __slots__ = ("rows",)

    def __init__(self, rows: list[MemberRow]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"MemberRows({len(self.rows)} members)"


@dataclass(frozen=True, slots=True)
class MemberPage:
    """One page of members and what Dataverse says about the next.

    `next_link` is the whole address of the next page, None on the last. `paging_cookie` and `more_records` come with
    FetchXML only: the cookie is the annotation as it stands (XML, not yet decoded), None when there is none.
    """

    rows: MemberRows
    next_link: str | None
    paging_cookie: str | None
    more_records: bool


def read_page(body: bytes, key: str = "contactid") -> MemberPage:
    """Return the members in the body of a Dataverse answer to a query for rows.

    `key` is the column that holds the member's id (`contactid`, `leadid`). Columns that were not asked for count as
    unknown, unknown ones are passed over. Raises UnexpectedAnswer when the body is not such an answer.
    """
    try:
        answer = _decoder(key)(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UnexpectedAnswer(
            f"Dataverse answered with a page of members that cannot be read ({error}). Try again; if it happens again, report it."
        ) from None
    return MemberPage(
        rows=MemberRows(answer.value),
        next_link=answer.next_link,
        paging_cookie=answer.paging_cookie,
        more_records=bool(answer.more_records),
    )


@lru_cache(maxsize=16)
def _decoder(key: str) -> Callable[[bytes], Any]:
    row = msgspec.defstruct(
        "Row",
        [
            ("id", str),
            ("emailaddress1", str | None, None),
            ("donotemail", bool | None, None),
            ("donotbulkemail", bool | None, None),
            ("statecode", int | None, None),
        ],
        rename={"id": key},
        namespace={"__repr__": lambda _: "Row(…)"},
        gc=False,
    )
    answer = msgspec.defstruct(
        "Answer",
        [
            ("value", list[row]),  # type: ignore[valid-type]
            ("next_link", str | None, None),
            ("paging_cookie", str | None, None),
            ("more_records", bool | None, None),
        ],
        rename={
            "next_link": "@odata.nextLink",
            "paging_cookie": "@Microsoft.Dynamics.CRM.fetchxmlpagingcookie",
            "more_records": "@Microsoft.Dynamics.CRM.morerecords",
        },
        gc=False,
    )
    return cast("Callable[[bytes], Any]", msgspec.json.Decoder(answer).decode)
