"""Webhook events: what is read of them, and that nothing else can happen."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.dataverse.events import BadEvent, Event, read_event

ROW = "0f8fad5b-d9cb-469f-a165-70867728950e"
OPERATION = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
ORGANIZATION = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
USER = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
CORRELATION = "6ba7b811-9dad-11d1-80b4-00c04fd430c8"
ZERO = "00000000-0000-0000-0000-000000000000"
HEADERS = {"X-MS-Dynamics-Organization": "Contoso.crm4.dynamics.com", "x-ms-dynamics-entity-name": "lima_audience"}


def context(**changes: Any) -> dict[str, Any]:
    """Return a RemoteExecutionContext as Dataverse posts it, with some members changed."""
    target = {
        "__type": "Entity:http://schemas.microsoft.com/xrm/2011/Contracts",
        "Attributes": [{"key": "modifiedon", "value": "/Date(1750000000000)/"}],
        "Id": ROW,
    }
    return {
        "BusinessUnitId": USER,
        "CorrelationId": CORRELATION,
        "Depth": 1,
        "InitiatingUserId": USER,
        "InputParameters": [{"key": "Target", "value": target}],
        "IsInTransaction": False,
        "MessageName": "Create",
        "Mode": 1,
        "OperationCreatedOn": "/Date(1750000000000-0000)/",
        "OperationId": OPERATION,
        "OrganizationId": ORGANIZATION,
        "OrganizationName": "contoso",
        "OutputParameters": [],
        "OwningExtension": {"Id": USER, "LogicalName": "sdkmessageprocessingstep", "Name": "step"},
        "ParentContext": {"Stage": 30},
        "PrimaryEntityId": ROW,
        "PrimaryEntityName": "lima_audience",
        "UserId": ZERO,
    } | changes


def read(event: dict[str, Any], headers: dict[str, str] | None = None) -> Event:
    """Return what is read of a context, its slashes escaped as Dataverse does."""
    return read_event(json.dumps(event).replace("/", "\\/").encode(), HEADERS if headers is None else headers)


def test_an_event_says_which_row_to_look_at() -> None:
    """The worker reads the row itself; the event is a doorbell."""
    event = read(context())

    assert event == Event(
        key=OPERATION,
        table="lima_audience",
        message="Create",
        row_id=ROW,
        organization_id=ORGANIZATION,
        host="contoso.crm4.dynamics.com",
        user_id=USER,
        correlation=CORRELATION,
        depth=1,
        shortened=False,
    )


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ("lima_audience", "audience"),
        ("lima_signin", "signin"),
        ("msdynmkt_segmentdefinition", "live"),
        ("list", "live"),
        ("contact", None),
    ],
)
def test_the_table_says_what_the_event_is_about(table: str, kind: str | None) -> None:
    """Three kinds of event matter; any other is not ours."""
    assert read(context(PrimaryEntityName=table)).kind == kind


def test_an_event_that_dataverse_shortened_is_read_all_the_same() -> None:
    """Over 256 KB it leaves out everything but the ids (Learn: Use webhooks)."""
    event = context()
    for left_out in ("InputParameters", "ParentContext"):
        del event[left_out]

    assert read(event, HEADERS | {"x-ms-dynamics-msg-size-exceeded": ""}).shortened
    assert read(event).row_id == ROW


def test_members_that_dataverse_may_add_are_passed_over() -> None:
    """A newer service must not stop the product."""
    assert read(context(UserAzureActiveDirectoryObjectId=USER, New={"a": [1, 2, {"b": None}]})) == read(context())


def changed(**columns: Any) -> dict[str, Any]:
    """Return the event of a change of these columns."""
    target = {"Attributes": [{"key": name, "value": value} for name, value in columns.items()], "Id": ROW}
    return context(MessageName="Update", InputParameters=[{"key": "Target", "value": target}])


@pytest.mark.parametrize(
    ("columns", "is_echo"),
    [
        ({"lima_command": None, "lima_status": {"Value": 727000001}}, True),
        ({"lima_command": {"__type": "OptionSetValue", "Value": 727000001}}, False),
        ({"lima_commandid": None}, False),
        ({}, False),
    ],
)
def test_our_own_emptying_of_a_command_is_known_as_an_echo(columns: dict[str, Any], is_echo: bool) -> None:
    """The worker empties a command when it has taken it; that asks for nothing."""
    assert read(changed(**columns)).is_echo is is_echo


@pytest.mark.parametrize(
    "parameters", [None, 5, [], [None], [{"key": "Target"}], [{"key": "Target", "value": {"Attributes": 7}}]]
)
def test_parameters_of_another_shape_are_no_echo(parameters: Any) -> None:
    """A doorbell too many does no harm; one too few would."""
    assert not read(context(InputParameters=parameters)).is_echo


def test_the_same_event_has_the_same_key_and_another_event_another() -> None:
    """A second delivery is known by its key."""
    assert read(context()).key == read(context(Depth=2)).key
    assert read(context()).key != read(context(OperationId=USER)).key


@pytest.mark.parametrize("missing", [ZERO, None, "", "no id"])
def test_without_an_operation_an_event_is_known_by_what_tells_it_from_others(missing: str | None) -> None:
    """Step, row, message, correlation and time of creation, as the platform names them."""
    key = read(context(OperationId=missing)).key

    assert key == read(context(OperationId=missing, Depth=3, BusinessUnitId=ROW)).key
    others = (
        {"PrimaryEntityId": USER},
        {"MessageName": "Update"},
        {"CorrelationId": ROW},
        {"OperationCreatedOn": "/Date(1750000000001-0000)/"},
        {"OwningExtension": {"Id": ROW}},
    )
    assert len({key, *(read(context(OperationId=missing, **other)).key for other in others)}) == len(others) + 1


def test_ids_are_read_in_any_spelling() -> None:
    """Braces and capitals vary in the platform."""
    assert read(context(PrimaryEntityId="{" + ROW.upper() + "}")).row_id == ROW


@pytest.mark.parametrize(
    "changes",
    [
        {"PrimaryEntityId": None},
        {"PrimaryEntityId": "1"},
        {"PrimaryEntityId": 7},
        {"PrimaryEntityName": None},
        {"PrimaryEntityName": ""},
        {"PrimaryEntityName": "contact(1)/x"},
        {"PrimaryEntityName": "x" * 200},
        {"Depth": "1"},
        {"OwningExtension": []},
    ],
)
def test_an_event_without_a_row_is_refused(changes: dict[str, Any]) -> None:
    """There is nothing to look at."""
    with pytest.raises(BadEvent):
        read(context(**changes))


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b"\xff\xfe{}", b"[" * 100_000, b'{"PrimaryEntityId":' * 5_000, b"<xml/>"]
)
def test_what_is_no_event_is_refused(body: bytes) -> None:
    """Anybody can post anything at the door."""
    with pytest.raises(BadEvent):
        read_event(body, {})


def test_a_mark_at_the_start_of_the_text_does_no_harm() -> None:
    """Some senders put a byte order mark first."""
    assert read_event(b"\xef\xbb\xbf" + json.dumps(context()).encode(), {}).row_id == ROW


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=8,
)
MEMBERS = st.sampled_from(list(context()))
EVENTS = st.dictionaries(MEMBERS, JSON).map(lambda changes: json.dumps(context(**changes)).encode())
ODD = st.binary() | JSON.map(lambda value: json.dumps(value).encode()) | EVENTS


@given(ODD, st.dictionaries(st.text(max_size=40) | st.sampled_from(list(HEADERS)), st.text(max_size=40)))
@example(json.dumps(context(OperationId=None, MessageName="\ud800")).encode(), {})
@example(json.dumps(context(OperationId=None, OperationCreatedOn="\udfff")).encode(), {})
def test_nothing_but_an_event_or_a_refusal_comes_out(body: bytes, headers: dict[str, str]) -> None:
    """The door answers 400, never 500."""
    try:
        event = read_event(body, headers)
    except BadEvent:
        return

    assert len(event.row_id) == len(event.key) == len(ROW)
