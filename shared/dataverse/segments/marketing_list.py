"""Marketing lists (`list`): static ones by their members, dynamic ones by their FetchXML.

Sources: Microsoft Learn, "List entity reference", "Page results using FetchXML", "Page results" (Web API).
"""

from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial
from http import HTTPStatus
from urllib.parse import quote, unquote
from xml.etree import ElementTree as ET  # nosec B405 # texts with a document type are refused before

from shared.dataverse import protocol
from shared.dataverse.client import DataverseClient
from shared.dataverse.segments import Base, base_of, is_live, not_found, number, text
from shared.dataverse.segments.reading import Followed, check_link, follow
from shared.domain.members import MemberPage, MemberRows, read_page
from shared.domain.segments import Kind, Segment, SegmentRef
from shared.errors import NotAllowed, UnexpectedAnswer
from shared.http import Answer, Request
from shared.ports import RangeReader, SourcePage

TABLE = "list"
WHAT = "marketing list"
_MEMBER_TABLES = {1: "account", 2: "contact", 4: "lead"}
_COLUMNS = ("listname", "type", "membertype", "membercount", "query", "statecode")
_ROWS_WITHOUT_COOKIE = 50_000  # how far Dataverse pages by number alone
_ANNOTATIONS = {
    "Prefer": 'odata.include-annotations="Microsoft.Dynamics.CRM.fetchxmlpagingcookie,Microsoft.Dynamics.CRM.morerecords"'
}


class MarketingLists:
    """Marketing lists of one environment (`segments.SegmentKind`)."""

    def __init__(self, client: DataverseClient, *, page_size: int) -> None:
        """Read over `client`, `page_size` members per request."""
        self._client, self._page_size = client, page_size

    def look_up(self, ref: SegmentRef) -> Segment:
        """Return what the list says, by one request. Raises SegmentNotFound."""
        path = protocol.query(protocol.row("lists", ref.id), select=_COLUMNS)
        found = self._client.row(path, f"read the marketing list {ref.id}")
        if found is None:
            raise not_found(ref, WHAT)
        is_dynamic = found.get("type") is True
        kept = number(found.get("membertype"))
        return Segment(
            ref=ref,
            kind=Kind.LIST,
            name=text(found.get("listname")),
            is_static=not is_dynamic,
            is_live=is_live(TABLE, number(found.get("statecode")), frozenset()),
            base=_MEMBER_TABLES.get(kept or 0, f"member type {kept}"),
            member_count=number(found.get("membercount")),
            source=text(found.get("query")) if is_dynamic else "",
        )

    def list_ids(self, segment: Segment) -> None:
        """Return None: pages of a list need no ids first."""

    def pages(self, segment: Segment, cursor: str, ids: RangeReader | None) -> Iterator[SourcePage]:  # noqa: ARG002  port
        """Return the pages from `cursor` on, the next one read ahead."""
        base = base_of(segment)
        if segment.is_static:
            return _source_pages(
                follow(partial(self._ask_static, segment.ref, base), partial(self._static_page, segment.ref, base), cursor)
            )
        query = MemberQuery(segment.source, base, self._page_size)
        return _source_pages(
            follow(partial(self._ask_dynamic, segment.ref, query), partial(self._dynamic_page, segment.ref, query), cursor)
        )

    def _ask_static(self, ref: SegmentRef, base: Base, cursor: str) -> Answer:
        """Ask for one page of a static list; the cursor is the path of Dataverse's own next link."""
        first = protocol.query(f"{protocol.row('lists', ref.id)}/list{base.table}_association", select=base.columns)
        path = self._client.absolute(cursor) if cursor else first
        return self._ask(ref, protocol.request("GET", path, headers=protocol.page_size(self._page_size)))

    def _static_page(self, ref: SegmentRef, base: Base, answer: Answer, cursor: str) -> Followed[MemberRows]:
        page = _page(ref, base, answer, cursor)
        following = protocol.next_path(self._client.base_url, page.next_link) if page.next_link else None
        return page.rows, following

    def _ask_dynamic(self, ref: SegmentRef, query: "MemberQuery", cursor: str) -> Answer:
        """Ask for one page of a dynamic list; the cursor is the page's number and the paging cookie."""
        path = f"{protocol.API}{query.base.table_set}?fetchXml={quote(query.at(cursor), safe='')}"
        return self._ask(ref, protocol.request("GET", path, headers=_ANNOTATIONS))

    def _dynamic_page(self, ref: SegmentRef, query: "MemberQuery", answer: Answer, cursor: str) -> Followed[MemberRows]:
        page = _page(ref, query.base, answer, cursor)
        return page.rows, query.behind(cursor, page, ref)

    def _ask(self, ref: SegmentRef, request: Request) -> Answer:
        if len(self._client.base_url) + len(request.path) > protocol.URL_LIMIT:
            return self._client.batch([request], _doing(ref))[0]
        return self._client.send(request)


def _page(ref: SegmentRef, base: Base, answer: Answer, cursor: str) -> MemberPage:
    """Read an answer with members. Raises PageLinkExpired, SegmentNotFound, and what `protocol.check` raises."""
    if cursor:
        check_link(answer, f"the marketing list {ref.id}")
    found = protocol.fault(answer)
    if found and found.status == HTTPStatus.NOT_FOUND and found.row_is_missing:
        raise not_found(ref, WHAT)
    protocol.check(answer, _doing(ref))
    return read_page(answer.body, base.key)


def _doing(ref: SegmentRef) -> str:
    return f"read members of the marketing list {ref.id}"


def _source_pages(pages: Generator[Followed[MemberRows]]) -> Iterator[SourcePage]:
    with closing(pages) as found:
        for rows, cursor in found:
            yield SourcePage(rows, cursor)


class MemberQuery:
    """The FetchXML of a dynamic list, made to give the members' needed columns page by page.

    Its own columns and order go, because pages are only reliable in the order of the key, and a column of a linked
    table would repeat members; so would the link itself, if the rows were not made distinct.
    Raises NotAllowed when the text is no query for the list's members.
    """

    def __init__(self, written: str, base: Base, size: int) -> None:
        """Prepare the query `written` on the list, for pages of `size` members."""
        self.base, self._size = base, size
        self._fetch = _parsed(written)
        entity = self._fetch.find("entity")
        if self._fetch.tag != "fetch" or entity is None or entity.get("name") != base.table:
            raise NotAllowed(f"The query of this dynamic marketing list does not ask for rows of '{base.table}'. {_ADVICE}")
        if self._fetch.get("aggregate") == "true" or self._fetch.get("top"):
            raise NotAllowed(f"The query of this dynamic marketing list counts or cuts off its members. {_ADVICE}")
        _choose_columns(entity, base)
        repeats = entity.find(".//link-entity") is not None
        self._fetch.attrib.pop("returntotalrecordcount", None)
        self._fetch.attrib |= {"distinct": "true" if repeats else "false", "count": str(size)}

    def at(self, cursor: str) -> str:
        """Return the FetchXML for the page at `cursor`, "number cookie" or empty for the first."""
        number, cookie = _place(cursor)
        fetch = ET.Element("fetch", {**self._fetch.attrib, "page": str(number)})
        if cookie:
            fetch.set("paging-cookie", cookie)
        fetch.extend(self._fetch)
        return ET.tostring(fetch, encoding="unicode")

    def behind(self, cursor: str, page: MemberPage, ref: SegmentRef) -> str | None:
        """Return the cursor of the page behind this one; None after the last.

        Raises UnexpectedAnswer when Dataverse would lead round in a circle, NotAllowed for a long list without cookies
        (Learn: some queries do not support them).
        """
        if not page.more_records:
            return None
        number, before = _place(cursor)
        cookie = paging_cookie(page.paging_cookie)
        if cookie and cookie == before:
            raise _stuck(ref)
        if not cookie and number * self._size >= _ROWS_WITHOUT_COOKIE:
            raise NotAllowed(
                f"Dataverse gives only the first {_ROWS_WITHOUT_COOKIE:,} members of this dynamic marketing list. {_ADVICE}"
            )
        return f"{number + 1} {cookie}"


def _choose_columns(entity: ET.Element, base: Base) -> None:
    """Let a query ask for the members' needed columns only, in the order of the key."""
    for part in list(entity.iter()):
        for child in [child for child in part if child.tag in {"attribute", "all-attributes", "order"}]:
            part.remove(child)
    for place, column in enumerate(base.columns):
        entity.insert(place, ET.Element("attribute", name=column))
    entity.append(ET.Element("order", attribute=base.key))


_ADVICE = "Copy the list to a static one (Copy to static), and use that."


def _parsed(written: str) -> ET.Element:
    if "<!doctype" in written.lower():
        raise NotAllowed(f"The query of this dynamic marketing list cannot be read. {_ADVICE}")
    try:
        return ET.fromstring(written)  # noqa: S314 # nosec B314 # no document type, so nothing can be expanded
    except ET.ParseError:
        raise NotAllowed(f"The query of this dynamic marketing list cannot be read. {_ADVICE}") from None


def _place(cursor: str) -> tuple[int, str]:
    number, _, cookie = cursor.partition(" ")
    return int(number or 1), cookie


def paging_cookie(annotation: str | None) -> str:
    """Return the paging cookie in Dataverse's annotation, URL-decoded twice as it has to be; empty when there is none.

    >>> paging_cookie('<cookie pagenumber="2" pagingcookie="%253ccookie%2520page%253d%25221%2522%253e" istracking="False" />')
    '<cookie page="1">'
    """
    if not annotation or "<!doctype" in annotation.lower():
        return ""
    try:
        found = ET.fromstring(annotation)  # noqa: S314 # nosec B314 # no document type, so nothing can be expanded
    except ET.ParseError:
        return ""
    return unquote(unquote(found.get("pagingcookie", "")))


def _stuck(ref: SegmentRef) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        f"Dataverse does not get to the end of the marketing list {ref.id}, so nothing was used. Ask support to look at the logs."
    )
