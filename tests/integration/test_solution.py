"""The installer against the Dataverse simulator: install, repeat, continue, upgrade, check, export and remove."""

import base64
import html
import io
import json
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from sandbox import tokens
from sandbox.certificates import make_authority
from sandbox.dataverse import DataverseSimulator, seeds
from sandbox.entra import EntraSimulator
from sandbox.web import Fault, InProcess, make_server
from shared.dataverse import schema
from shared.http import HttpClient
from solution import VERSION, __main__, formxml, remove
from solution.check import Question, check
from solution.definitions import CHOICES, MARKETER, RESULT_COLUMNS, ROLES, TABLES, WORKER
from solution.export import export
from solution.install import UNFINISHED, find_solution, install
from solution.report import Report
from solution.signin import sign_in
from solution.views import VIEWS
from solution.web import DataverseWeb, InstallError, Rehearsal

URL = "https://contoso.crm.dynamics.com"
APP = "https://app.example"
CLIENT = "00000000-0000-0000-0000-0000000000aa"
SECRET = "a webhook secret of good length"


class Customer:
    """An environment in process, an administrator's way into it, and a built tab."""

    def __init__(self, folder: Path, **how: Any) -> None:
        self.simulator = DataverseSimulator(**how)
        self.session = requests.Session()
        self.session.mount("https://", InProcess(self.simulator))
        self.slept: list[float] = []
        self.web = DataverseWeb(HttpClient(URL, name="Dataverse", session=self.session), self._sign, sleep=self.slept.append)
        self.folder = folder
        self.tab = folder / "dist"
        self.tab.mkdir()
        for name, content in {"tab.html": "<p>tab", "tab.js": "1", "tab.css": "p{}", "form.js": "2", ".stamp": "x"}.items():
            (self.tab / name).write_text(content)

    def _sign(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(appid=seeds.ADMINISTRATOR_APPLICATION)}"}

    def token(self, **who: str) -> str:
        """Return an access token for this environment."""
        return tokens.issue(audience=URL, now=self.simulator.clock.time(), **who)  # type: ignore[arg-type]

    def install(self, **changes: Any) -> Report:
        """Install everything, as most customers do."""
        usual: dict[str, Any] = {"webhook_url": APP, "webhook_secret": SECRET, "app_user": CLIENT, "tab_folder": self.tab}
        return install(self.web, **(usual | {"backup_folder": self.folder / "backup"} | changes))

    def remove(self, **changes: Any) -> Report:
        """Remove everything, having agreed."""
        return remove.remove(self.web, **({"confirm": lambda _: True} | changes))

    def wrong(self) -> list[str]:
        """Return what a check finds wrong."""
        question = Question(APP, CLIENT, self.tab)
        return [f"{one.piece}: {one.says}" for one in check(self.web, question) if one.verdict == "wrong"]

    def writes(self) -> list[str]:
        """Return the writes since the call log was last cleared; MembersList is an action that only reads."""
        return [
            f"{call.method} {call.path}"
            for call in self.simulator.calls
            if call.method != "GET" and "MembersList" not in call.path
        ]

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return all rows of a table, whatever anybody may read."""
        return list(self.simulator.state.all_rows(table))

    def forms(self) -> dict[str, str]:
        """Return every form's XML as it will be after publishing, and as it is published."""
        waiting = self.simulator.state.unpublished
        return {
            f"{row['objecttypecode']} {row['name']} {kind}": xml
            for row in self.rows("systemform")
            for kind, xml in (
                ("published", row["formxml"]),
                ("newest", waiting.get(("systemform", row["formid"]), {}).get("formxml", row["formxml"])),
            )
        }

    def contents(self) -> dict[str, Any]:
        """Return everything in the environment that an install could touch, without ids and times."""
        named = {
            "publisher": ("uniquename", "customizationprefix"),
            "solution": ("uniquename", "version"),
            "role": ("name", "description"),
            "webresource": ("name", "content"),
            "savedquery": ("name", "fetchxml", "layoutxml"),
            "appaction": ("uniquename", "contextvalue", "onclickeventjavascriptfunctionname"),
            "serviceendpoint": ("name", "url", "contract", "authtype"),
            "sdkmessageprocessingstep": ("name", "filteringattributes", "stage", "mode"),
        }
        rows = {table: sorted([row.get(name) for name in names] for row in self.rows(table)) for table, names in named.items()}
        columns = {table.name: sorted(table.columns) for table in self.simulator.state.schema}
        held = {row["name"]: sorted(self._held(row["roleid"])) for row in self.rows("role")}
        return {
            "rows": rows,
            "columns": columns,
            "choices": sorted(self.simulator.state.schema.choices),
            "privileges": held,
            "forms": self.forms(),
        }

    def _held(self, role_id: str) -> list[tuple[str, int]]:
        privileges = self.simulator.state.privileges
        return [(privileges.name_of(row_id) or row_id, depth) for row_id, depth in privileges.by_role.get(role_id, {}).items()]


@pytest.fixture
def customer(tmp_path: Path) -> Customer:
    """Return an environment with Customer Insights - Journeys and nothing of ours."""
    return Customer(tmp_path)


@pytest.fixture
def installed(customer: Customer) -> Customer:
    """Return an environment in which everything is installed."""
    customer.install()
    return customer


# ------------------------------------------------------------------ install


def test_an_install_leaves_nothing_that_a_check_finds_wrong(installed: Customer) -> None:
    """Every piece is there, published, and as it should be."""
    assert installed.wrong() == []
    assert {row["name"] for row in installed.rows("webresource")} == {
        "lima_/tab.html",
        "lima_/tab.js",
        "lima_/tab.css",
        "lima_/form.js",
    }
    assert installed.simulator.state.unpublished == {}


def test_an_install_takes_few_requests(customer: Customer) -> None:
    """The sandbox installs at each start, so a whole install stays within 140 requests."""
    customer.install()
    assert len(customer.simulator.calls) <= 140


def test_a_second_install_changes_nothing_and_says_so(installed: Customer) -> None:
    """Nothing is written, and the report has no change."""
    installed.simulator.calls.clear()
    report = installed.install()
    assert not report.changed
    assert installed.writes() == []


def test_everything_goes_into_the_solution(installed: Customer) -> None:
    """What is in the solution can be exported and moved to another environment."""
    solution = next(row for row in installed.rows("solution") if row["uniquename"] == schema.SOLUTION)
    held = [row for row in installed.rows("solutioncomponent") if row["solutionid"] == solution["solutionid"]]
    kinds = {kind: sum(row["componenttype"] == kind for row in held) for kind in (9, 20, 61, 92, 95, 10_301)}
    assert kinds == {9: len(CHOICES), 20: len(ROLES), 61: 4, 92: len(schema.STEPS), 95: 1, 10_301: 3}
    assert solution["version"] == VERSION


def test_the_webhook_carries_its_secret_in_the_header(installed: Customer) -> None:
    """The function app knows Dataverse by the header it was told."""
    endpoint = next(iter(installed.rows("serviceendpoint")))
    assert (endpoint["contract"], endpoint["authtype"]) == (8, 5)
    assert endpoint["url"] == f"{APP}/api/dataverse/events"
    assert endpoint["authvalue"] == f'<settings><setting name="x-lima-key" value="{SECRET}"/></settings>'
    assert SECRET not in (endpoint["description"] or "")


def test_steps_ring_only_for_what_matters_and_never_twice(installed: Customer) -> None:
    """Updates are filtered by column, and no step stands on the bulk messages."""
    steps = {row["name"]: row for row in installed.rows("sdkmessageprocessingstep")}
    messages = {row["sdkmessageid"]: row["name"] for row in installed.rows("sdkmessage")}
    assert {messages[row["sdkmessageid"]] for row in steps.values()} == {"Create", "Update"}
    for name, _, message, columns in schema.STEPS:
        assert (steps[name].get("filteringattributes") or "") == ",".join(columns), message
        assert (steps[name]["stage"], steps[name]["mode"]) == (40, 1)


def test_a_new_webhook_secret_is_written_and_none_given_leaves_the_old_one(installed: Customer) -> None:
    """Dataverse never gives a secret back, so the installer knows it by a mark."""
    installed.simulator.calls.clear()
    assert not installed.install(webhook_secret="").changed
    report = installed.install(webhook_secret="another webhook secret of length")
    assert [change.why for change in report.of("changed")] == ["its secret"]
    assert "another webhook secret" in next(iter(installed.rows("serviceendpoint")))["authvalue"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"webhook_url": "http://app.example"}, "https://"),
        ({"webhook_secret": "short"}, "shorter than"),
        ({"webhook_secret": ""}, "needs a secret"),
    ],
)
def test_an_unusable_webhook_is_refused_with_a_sentence(customer: Customer, given: dict[str, str], sentence: str) -> None:
    """A webhook that nobody could trust is not made."""
    with pytest.raises(InstallError, match=sentence):
        customer.install(**given)
    assert customer.rows("serviceendpoint") == []


def test_parts_that_were_not_asked_for_are_left_out_with_a_word(customer: Customer) -> None:
    """Without address, client id and built tab the rest is installed all the same."""
    report = customer.install(webhook_url=None, app_user=None, tab_folder=customer.folder)
    assert {change.what for change in report.of("skipped")} == {"application user", "webhook", "tab and button"}
    assert any("make tab" in change.why for change in report.of("skipped"))


def test_tables_that_are_not_here_are_left_out_with_a_word(tmp_path: Path) -> None:
    """Outbound segments are gone from many environments; that is no fault."""
    (tmp_path / "x").mkdir()
    customer = Customer(tmp_path / "x", outbound=False)
    report = customer.install()
    assert [change.what for change in report.of("skipped")] == ["webhook step Update of msdyncrm_segment"]
    assert any(change.what == "tables that are not here" for change in report.of("found"))
    assert customer.wrong() == []


def test_messages_that_take_no_steps_are_left_out_with_a_word(customer: Customer) -> None:
    """There is no published list of the messages of Microsoft's segments; what is not offered is skipped."""
    store = customer.simulator.state.store("sdkmessagefilter")
    for at in list(store.positions()):
        if store.get(at, "primaryobjecttypecode") == "msdynmkt_segment":
            store.remove(at)
    report = customer.install()
    assert [change.what for change in report.of("skipped")] == ["webhook step Update of msdynmkt_segment"]
    assert customer.wrong() == []


def test_labels_are_written_in_the_languages_of_the_environment(customer: Customer) -> None:
    """German users read German."""
    customer.simulator.state.settings.languages = [1033, 1031]
    customer.install()
    table = customer.simulator.state.schema.table("lima_audience")
    labels = {one["LanguageCode"]: one["Label"] for one in table.metadata["DisplayName"]["LocalizedLabels"]}
    assert labels == {1033: "LinkedIn audience", 1031: "LinkedIn-Zielgruppe"}
    assert not customer.install().changed
    assert customer.wrong() == []


def test_a_language_that_is_switched_on_later_gets_its_labels(installed: Customer) -> None:
    """The next install brings them."""
    installed.simulator.state.settings.languages = [1033, 1031]
    assert installed.install().changed
    assert not installed.install().changed


def test_the_tab_and_the_button_can_each_be_switched_off(customer: Customer) -> None:
    """Each surface can be had alone, and one that was there is taken out."""
    before = customer.forms()
    customer.install(button=False)
    assert customer.rows("appaction") == []
    customer.install(tab=False)
    assert {name: xml for name, xml in customer.forms().items() if "lima_audience" not in name} == before
    assert len(customer.rows("appaction")) == 3
    customer.install(button=False)
    assert customer.rows("appaction") == []
    assert customer.wrong() == []


def test_the_tab_goes_only_into_the_forms_that_are_named(installed: Customer) -> None:
    """Which form is a setting, and it may change."""
    installed.install(only_forms={"Segment"})
    with_tab = {name for name, xml in installed.forms().items() if formxml.has_tab(xml)}
    assert with_tab == {"msdyncrm_segment Segment published", "msdyncrm_segment Segment newest"}
    report = installed.install(only_forms={"No such form"})
    assert [change.why for change in report.of("skipped")] == ["no main form of a segment table was found under this name"]


def test_a_form_is_saved_as_it_was_before_it_is_changed(customer: Customer) -> None:
    """Whatever happens, the form of before is at hand."""
    before = {xml for name, xml in customer.forms().items() if name.startswith(("msdyn", "list"))} - {
        customer.forms()["msdynmkt_segment Information newest"]
    }
    customer.install()
    saved = {path.read_text() for path in (customer.folder / "backup").iterdir()}
    assert saved == before


def test_a_form_that_takes_no_change_is_left_out_and_the_rest_goes_on(customer: Customer) -> None:
    """The button serves the form; the reason is told."""
    body = {"error": {"code": "0x8004f026", "message": "This form is locked."}}
    customer.simulator.faults.append(Fault("status", "PATCH", "systemforms", status=403, body=body))
    report = customer.install()
    assert [(change.what, "This form is locked" in change.why) for change in report.of("skipped")] == [
        ("form Information of msdynmkt_segmentdefinition", True)
    ]
    assert customer.wrong() == []


def test_a_column_of_another_type_stops_the_install_with_a_sentence(customer: Customer) -> None:
    """Nobody else's column is ever overwritten."""
    customer.install(tab_folder=None)
    column = customer.simulator.state.schema.table("list").columns["lima_linkedinsent"]
    column.metadata["AttributeTypeName"] = {"Value": "StringType"}
    with pytest.raises(InstallError, match=r"column lima_linkedinsent of another type \(StringType\)"):
        customer.install()
    assert any("another type" in one for one in customer.wrong())


def test_an_application_user_that_was_disabled_is_enabled_again(installed: Customer) -> None:
    """The app can work after a reinstall."""
    state = installed.simulator.state
    user = next(row for row in installed.rows("systemuser") if row.get("applicationid") == CLIENT)
    at = state.store("systemuser").position(user["systemuserid"])
    assert at is not None
    state.set_values("systemuser", at, {"isdisabled": True})
    assert any("application user: is disabled" in one for one in installed.wrong())
    installed.install()
    assert installed.wrong() == []


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [("notes.txt", b"x", "of no type"), ("big.js", b"x" * (5 * 1024 * 1024 + 1), "larger than 5 MB")],
)
def test_a_file_that_dataverse_would_not_take_stops_the_install(
    customer: Customer, name: str, content: bytes, sentence: str
) -> None:
    """The sentence names the file and how to build the tab again."""
    (customer.tab / name).write_bytes(content)
    with pytest.raises(InstallError, match=f"{name} is .*{sentence}.*make tab"):
        customer.install()


def test_a_client_id_that_is_no_guid_is_refused_before_anything_is_done(customer: Customer) -> None:
    """A slip of the clipboard costs nothing."""
    with pytest.raises(InstallError, match="no guid"):
        customer.install(app_user="my app")
    assert customer.simulator.calls == []


def test_an_environment_that_refuses_a_question_is_not_taken_for_an_empty_one(customer: Customer) -> None:
    """Only what is surely not there is made; anything else stops with Dataverse's own words."""
    body = {"error": {"code": "0x0", "message": "Could not find a property named 'url' on type 'serviceendpoint'."}}
    customer.simulator.faults.append(Fault("status", "GET", "serviceendpoints", status=400, body=body))
    with pytest.raises(InstallError, match="Could not find a property named 'url'"):
        customer.install()
    assert customer.rows("serviceendpoint") == []


# ------------------------------------------------------------------ rehearsal


def test_a_rehearsal_says_what_an_install_does_and_writes_nothing(customer: Customer) -> None:
    """What is printed by --dry-run is what then happens."""
    before = customer.contents()
    rehearsed = install(Rehearsal(customer.web), webhook_url=APP, webhook_secret=SECRET, app_user=CLIENT, tab_folder=customer.tab)
    assert customer.writes() == []
    assert customer.contents() == before
    report = customer.install()
    told = [(change.action, change.what) for change in rehearsed.of("created", "changed")]
    assert told == [(change.action, change.what) for change in report.of("created", "changed")]
    assert rehearsed.dry


def test_a_rehearsed_removal_asks_nothing_and_writes_nothing(installed: Customer) -> None:
    """A rehearsal is harmless."""
    before = installed.contents()
    installed.simulator.calls.clear()
    report = remove.remove(Rehearsal(installed.web), confirm=lambda _: pytest.fail("asked"))
    assert report.changed
    assert installed.writes() == []
    assert installed.contents() == before


# ------------------------------------------------------------------ interruptions

KINDS = ("drop-before", "drop-after", "status")


def _cut(kind: str, skip: int) -> Fault:
    """Return the fault that breaks off an install at a write: with an error, before it is done, or after."""
    body = {"error": {"code": "0x80040216", "message": "An unexpected error occurred."}}
    return Fault(kind, "POST|PATCH|PUT|DELETE", "", skip=skip, times=1, status=500, body=body)


@pytest.mark.parametrize("kind", KINDS)
def test_an_install_that_was_broken_off_anywhere_is_continued(tmp_path: Path, kind: str) -> None:
    """Wherever it stops, the next run brings it to the same end as one that was never broken off."""
    (tmp_path / "whole").mkdir()
    whole = Customer(tmp_path / "whole")
    whole.install()
    writes = len(whole.writes())
    for number in range(KINDS.index(kind) * 5, writes, 15):
        (tmp_path / str(number)).mkdir()
        customer = Customer(tmp_path / str(number))
        customer.simulator.faults.append(_cut(kind, number))
        try:
            customer.install()
        except InstallError as error:
            assert "run the same command again" in str(error) or "Dataverse did not" in str(error)  # noqa: PT017 - may not raise
        customer.install()
        assert customer.contents() == whole.contents(), f"broken off at write {number}"
        assert customer.simulator.state.unpublished == {}
        assert not customer.install().changed


def test_a_broken_off_install_is_recognised(customer: Customer) -> None:
    """Until the end the solution has a version that tells so."""
    customer.simulator.faults.append(_cut("status", 40))
    with pytest.raises(InstallError):
        customer.install()
    found = find_solution(customer.web)
    assert found is not None
    assert found["version"] == UNFINISHED
    assert any("broken off" in one for one in customer.wrong())


def test_a_removal_that_was_broken_off_is_continued(tmp_path: Path) -> None:
    """The next removal takes out what is left."""
    for number in range(0, 60, 13):
        (tmp_path / str(number)).mkdir()
        customer = Customer(tmp_path / str(number))
        before = customer.contents()
        customer.install()
        customer.simulator.faults.append(_cut("drop-before", number))
        try:
            customer.remove()
        except InstallError:
            customer.remove()
        assert customer.contents() == before, f"broken off at write {number}"


def test_dataverse_is_given_the_time_it_asks_for(customer: Customer) -> None:
    """Throttling is waited out, and a publication that somebody else is doing as well."""
    throttled = {"error": {"code": "0x80072322", "message": "Number of requests exceeded the limit of 6000."}}
    busy = {"error": {"code": "0x80071151", "message": "Cannot start the requested operation [Publish]."}}
    customer.simulator.faults += [
        Fault("status", "POST", "/publishers", status=429, headers={"Retry-After": "17"}, body=throttled),
        Fault("status", "POST", "/PublishXml", times=2, status=400, body=busy),
    ]
    customer.install()
    assert customer.slept[0] == 17
    assert len(customer.slept) == 3
    assert customer.wrong() == []


def test_an_environment_that_never_answers_is_told_in_a_sentence(customer: Customer) -> None:
    """Patience ends, and the sentence says what to do."""
    customer.simulator.faults.append(Fault("drop-before", times=100))
    with pytest.raises(InstallError, match="no clear answer"):
        customer.install()


# ------------------------------------------------------------------ upgrade


def test_an_upgrade_changes_what_is_older_and_raises_the_version(installed: Customer) -> None:
    """Labels, lengths, views, buttons, web resources and the version come up to date; the rest is left alone."""
    state = installed.simulator.state
    column = state.schema.table("lima_audience").columns["lima_name"]
    column.metadata["MaxLength"] = 50
    column.metadata["DisplayName"]["LocalizedLabels"][0]["Label"] = "Old"
    state.schema.choices["lima_audiencestatus"]["Options"].pop()
    _set(installed, "solution", "uniquename", schema.SOLUTION, version="0.0.9.0")
    _set(installed, "savedquery", "name", VIEWS[0].name.english, description="old")
    _set(installed, "appaction", "contextvalue", "list", buttonlabeltext="old")
    (installed.tab / "tab.js").write_text("newer")
    report = installed.install()
    changed = {change.what for change in report.of("created", "changed")}
    assert changed == {
        "column lima_audience.lima_name",
        "option Expired of choice lima_audiencestatus",
        f"view {VIEWS[0].name.english}",
        "button on forms of list",
        "web resource lima_/tab.js",
        "publication",
        f"solution {schema.SOLUTION}",
    }
    assert installed.wrong() == []
    content = next(row["content"] for row in installed.rows("webresource") if row["name"] == "lima_/tab.js")
    assert base64.b64decode(content) == b"newer"


def test_an_older_installer_does_not_touch_a_newer_install(installed: Customer) -> None:
    """Going back would take away what the newer release needs."""
    _set(installed, "solution", "uniquename", schema.SOLUTION, version="99.0.0.0")
    with pytest.raises(InstallError, match="newer than this installer"):
        installed.install()


def test_a_managed_solution_is_not_touched(installed: Customer) -> None:
    """A managed solution comes and goes by import only."""
    _set(installed, "solution", "uniquename", schema.SOLUTION, ismanaged=True)
    with pytest.raises(InstallError, match="managed solution"):
        installed.install()


def _set(customer: Customer, table: str, name: str, value: str, **changes: Any) -> None:
    """Change a row behind everybody's back."""
    state = customer.simulator.state
    row = next(row for row in customer.rows(table) if row.get(name) == value)
    at = state.store(table).position(row[state.schema.table(table).key])
    assert at is not None
    state.set_values(table, at, changes)


def test_an_upgrade_takes_out_web_resources_that_the_tab_no_longer_has(installed: Customer) -> None:
    """A file that a form still uses stays and is told."""
    (installed.tab / "tab.css").unlink()
    report = installed.install()
    assert [change.what for change in report.of("removed")] == ["web resource lima_/tab.css"]
    row = {"webresourceid": seeds.MARKETERS[0], "name": "lima_/old.js", "webresourcetype": 3, "content": ""}
    installed.simulator.state.add_row("webresource", row)
    form = next(row for row in installed.rows("systemform") if row["objecttypecode"] == "contact")
    used = '<formLibraries><Library name="lima_/old.js" libraryUniqueId="{x}"/></formLibraries></form>'
    _set(installed, "systemform", "formid", form["formid"], formxml=form["formxml"].replace("</form>", used))
    report = installed.install()
    assert [change.what for change in report.of("skipped")] == ["web resource lima_/old.js"]


# ------------------------------------------------------------------ remove


def test_a_removal_leaves_the_environment_as_it_was(customer: Customer) -> None:
    """Microsoft's forms are the same to the character, and nothing of ours is left."""
    before = customer.contents()
    customer.install()
    report = customer.remove()
    assert customer.contents() == before
    assert customer.simulator.state.unpublished == {}
    user = next(row for row in customer.rows("systemuser") if row.get("applicationid") == CLIENT)
    assert user["isdisabled"]
    assert len(report.of("removed")) > 60
    assert not customer.remove().changed


def test_data_is_deleted_only_after_a_yes(installed: Customer) -> None:
    """The question says what is lost; without a yes nothing is touched."""
    asked: list[str] = []
    before = installed.contents()

    def no(sentence: str) -> bool:
        asked.append(sentence)
        return False

    with pytest.raises(remove.NotConfirmed):
        installed.remove(confirm=no)
    assert "0 LinkedIn audience rows" in asked[0]
    assert installed.contents() == before


def test_data_can_be_kept(installed: Customer) -> None:
    """The surfaces and the webhook go, rows and columns stay, and an install brings the rest back."""
    installed.remove(keep_data=True, confirm=lambda _: pytest.fail("asked"))
    assert installed.rows("webresource") == installed.rows("sdkmessageprocessingstep") == []
    assert "lima_audience" in installed.simulator.state.schema.tables
    installed.install()
    assert installed.wrong() == []


def test_what_others_put_into_a_form_stays(customer: Customer) -> None:
    """Only our tab, handler and library are taken out."""
    customer.install()
    for row in customer.rows("systemform"):
        if row["objecttypecode"] == "list":
            other = row["formxml"].replace("<tabs>", '<tabs addedby="somebody">')
            _set(customer, "systemform", "formid", row["formid"], formxml=other)
    customer.remove()
    left = next(row["formxml"] for row in customer.rows("systemform") if row["objecttypecode"] == "list")
    assert 'addedby="somebody"' in left
    assert "lima" not in left


# ------------------------------------------------------------------ check

type Sabotage = Callable[[Customer], object]


def _delete(table: str, name: str, value: str) -> Sabotage:
    def sabotage(customer: Customer) -> None:
        state = customer.simulator.state
        row = next(row for row in customer.rows(table) if row.get(name) == value)
        at = state.store(table).position(row[state.schema.table(table).key])
        assert at is not None
        state.remove_row(table, at)

    return sabotage


def _change(table: str, name: str, value: str, **changes: Any) -> Sabotage:
    return lambda customer: _set(customer, table, name, value, **changes)


def _grant_nothing(customer: Customer) -> None:
    role = next(row for row in customer.rows("role") if row["name"] == WORKER.name)
    customer.simulator.state.privileges.by_role[role["roleid"]] = {}


SABOTAGES: dict[str, tuple[Sabotage, str]] = {
    "the publisher is gone": (_delete("publisher", "uniquename", "lima"), "publisher lima: is missing"),
    "the version is old": (_change("solution", "uniquename", schema.SOLUTION, version="0.0.1.0"), "is at version 0.0.1.0"),
    "a choice is gone": (
        lambda customer: customer.simulator.state.schema.choices.pop("lima_origin"),
        "choice lima_origin: is missing",
    ),
    "an option is gone": (
        lambda customer: customer.simulator.state.schema.choices["lima_command"]["Options"].pop(0),
        "choice lima_command: lacks the options Check",
    ),
    "a column is gone": (
        lambda customer: customer.simulator.state.schema.table("list").drop_column("lima_linkedinsize"),
        "columns of list: lacks lima_linkedinsize",
    ),
    "a role has no privileges": (_grant_nothing, f"role {WORKER.name}: lacks the privileges"),
    "the endpoint rings elsewhere": (
        _change("serviceendpoint", "name", schema.WEBHOOK_NAME, url="https://other.example"),
        "rings https://other.example",
    ),
    "the endpoint has no authentication": (
        _change("serviceendpoint", "name", schema.WEBHOOK_NAME, authtype=4),
        "is no webhook with header authentication",
    ),
    "the endpoint is gone": (
        _delete("serviceendpoint", "name", schema.WEBHOOK_NAME),
        f"webhook {schema.WEBHOOK_NAME}: is missing",
    ),
    "a step is off": (
        _change("sdkmessageprocessingstep", "name", schema.STEPS[0][0], statecode=1, statuscode=2),
        "webhook step Create of lima_audience: is switched off",
    ),
    "a step is gone": (
        _delete("sdkmessageprocessingstep", "name", schema.STEPS[1][0]),
        "webhook step Update of lima_audience: is missing",
    ),
    "a step listens to everything": (
        _change("sdkmessageprocessingstep", "name", schema.STEPS[1][0], filteringattributes=None),
        "listens to other columns",
    ),
    "a view is gone": (_delete("savedquery", "name", VIEWS[1].name.english), "views of lima_audience: lack"),
    "the main form is gone": (_delete("systemform", "name", "LinkedIn audience"), "main form of lima_audience: is missing"),
    "a web resource is gone": (_delete("webresource", "name", "lima_/tab.css"), "web resource lima_/tab.css: is missing"),
    "a web resource is another": (
        _change("webresource", "name", "lima_/tab.js", content=base64.b64encode(b"x").decode()),
        "is another one than the one built here",
    ),
}


@pytest.mark.parametrize(("sabotage", "sentence"), SABOTAGES.values(), ids=SABOTAGES.keys())
def test_a_check_finds_what_is_wrong_and_an_install_puts_it_right(installed: Customer, sabotage: Sabotage, sentence: str) -> None:
    """Each finding names the piece and what to do, and doing it helps."""
    sabotage(installed)
    found = [one for one in check(installed.web, Question(APP, CLIENT, installed.tab)) if one.verdict == "wrong"]
    assert any(sentence in f"{one.piece}: {one.says}" for one in found), found
    assert all(one.fix.endswith(".") for one in found)
    installed.install()
    assert installed.wrong() == []


def test_a_check_of_an_empty_environment_finds_everything_missing(customer: Customer) -> None:
    """It never stops at the first thing."""
    wrong = customer.wrong()
    assert len(wrong) > 15
    assert "table lima_audience: is missing" in wrong


def test_a_check_tells_of_unpublished_forms_and_of_events_that_were_not_taken(installed: Customer) -> None:
    """What an administrator sees in the maker portal may not be what people see."""
    state = installed.simulator.state
    form = next(row for row in installed.rows("systemform") if row["objecttypecode"] == "list")
    with_tab = form["formxml"]
    _set(installed, "systemform", "formid", form["formid"], formxml=formxml.without_ours(with_tab))
    state.unpublished[("systemform", form["formid"])] = {"formxml": with_tab}
    step = next(row for row in installed.rows("sdkmessageprocessingstep") if row["name"] == schema.STEPS[0][0])
    job = {
        "asyncoperationid": step["sdkmessageprocessingstepid"],
        "statecode": 3,
        "statuscode": 31,
        "createdon": "2026-01-01T00:00:00Z",
    }
    state.add_row("asyncoperation", job | {"owningextensionid": step["sdkmessageprocessingstepid"]})
    findings = list(check(installed.web))
    assert any("not published" in one.says for one in findings if one.verdict == "wrong")
    assert any("1 events were not taken" in one.says for one in findings)
    installed.install()
    assert not any("not published" in one.says for one in check(installed.web))


def test_a_check_only_reads(installed: Customer) -> None:
    """It may be run by anybody at any time."""
    installed.simulator.calls.clear()
    list(check(installed.web, Question(APP, CLIENT, installed.tab)))
    assert installed.writes() == []


@pytest.mark.parametrize(
    ("settings", "verdict", "sentence"),
    [
        ({}, "fine", "30 members with the segment's id"),
        ({"members_shape": "comma-separated"}, "fine", "30 members with the segment's id"),
        ({"members_key": "definition"}, "note", "30 members with the definition's id"),
        ({"members_limit": 10}, "wrong", "it keeps members back"),
        ({"members_status": 500}, "wrong", "the inner status 500"),
        ({"members_available": False}, "wrong", "it does not answer"),
    ],
)
def test_member_lists_are_tried_and_told(installed: Customer, settings: dict[str, Any], verdict: str, sentence: str) -> None:
    """Nobody documents whether an app may read a segment's members, so it is found out."""
    installed.simulator.seed_contacts(30)
    installed.simulator.make_segment("realtime")
    installed.simulator.settings(**settings)
    found = next(one for one in check(installed.web) if one.piece.startswith("member lists"))
    assert (found.verdict, sentence in found.says) == (verdict, True), found
    report = installed.install()
    assert any(sentence in change.why for change in report.of("found"))


def test_an_environment_whose_segments_cannot_be_listed_is_installed_all_the_same(customer: Customer) -> None:
    """Trying member lists is a service to the administrator; it never stops an install."""
    body = {"error": {"code": "0x0", "message": "Could not find a property named 'msdynmkt_source'."}}
    customer.simulator.faults.append(Fault("status", "GET", r"/msdynmkt_segments\?", times=9, status=400, body=body))
    report = customer.install()
    assert any("could not be tried" in change.why for change in report.of("found"))
    assert customer.wrong() == []


# ------------------------------------------------------------------ roles at work


def test_a_marketer_sees_all_audiences_and_only_their_own_sign_in(installed: Customer) -> None:
    """Whoever could read a sign-in address could attach another LinkedIn account to it."""
    _give_marketers_the_role(installed)
    first, second = seeds.MARKETERS
    audience = {"lima_name": "A", "lima_segmenttable": "list", "lima_segmentid": "x"}
    assert _as(installed, first, "POST", "lima_audiences", audience).status_code == 204
    assert _as(installed, first, "POST", "lima_signins", {"lima_name": "mine"}).status_code == 204
    assert len(_as(installed, second, "GET", "lima_audiences?$select=lima_name").json()["value"]) == 1
    assert _as(installed, second, "GET", "lima_signins?$select=lima_name").json()["value"] == []
    assert len(_as(installed, first, "GET", "lima_signins?$select=lima_name").json()["value"]) == 1
    row_id = _as(installed, first, "GET", "lima_audiences?$select=lima_name").json()["value"][0]["lima_audienceid"]
    assert _as(installed, second, "PATCH", f"lima_audiences({row_id})", {"lima_name": "B"}).status_code == 403


def test_the_app_can_do_its_work_and_no_more(installed: Customer) -> None:
    """It reads members, makes rows for people, writes results, and cannot change a contact."""
    installed.simulator.seed_contacts(5)
    segment = installed.simulator.make_segment("realtime")
    token = {"Authorization": f"Bearer {installed.token(appid=CLIENT)}"}

    def send(method: str, path: str, body: dict[str, Any] | None = None) -> requests.Response:
        return installed.session.request(method, f"{URL}/api/data/v9.2/{path}", json=body, headers=token)

    row = {
        "lima_name": "A",
        "lima_segmenttable": "list",
        "lima_segmentid": "x",
        "ownerid@odata.bind": f"/systemusers({seeds.MARKETERS[0]})",
    }
    definition = f"msdynmkt_segmentdefinitions({segment['definition']})"
    assert send("POST", "lima_audiences", row).status_code == 204
    assert send("GET", "lima_signins?$select=lima_name").status_code == 200
    assert send("PATCH", definition, {"lima_linkedinsent": 5}).status_code == 204
    contact = send("GET", "contacts?$select=emailaddress1&$top=1").json()["value"][0]["contactid"]
    assert send("PATCH", f"contacts({contact})", {"firstname": "X"}).status_code == 403
    assert send("POST", "lima_signins", {"lima_name": "x"}).status_code == 403


def _give_marketers_the_role(customer: Customer) -> None:
    role = next(row["roleid"] for row in customer.rows("role") if row["name"] == MARKETER.name)
    for marketer in seeds.MARKETERS:
        customer.web.post(
            f"systemusers({marketer})/systemuserroles_association/$ref", {"@odata.id": f"{URL}/api/data/v9.2/roles({role})"}
        )


def _as(customer: Customer, user_id: str, method: str, path: str, body: dict[str, Any] | None = None) -> requests.Response:
    """Send a request with a person's token."""
    user = next(row for row in customer.rows("systemuser") if row["systemuserid"] == user_id)
    who: dict[str, Any] = {"oid": user["azureactivedirectoryobjectid"], "claims": {"scp": "user_impersonation"}}
    token = customer.token(appid="51f81489-12ee-4a9e-aaae-a2591f45987d", **who)
    return customer.session.request(
        method, f"{URL}/api/data/v9.2/{path}", json=body, headers={"Authorization": f"Bearer {token}"}
    )


# ------------------------------------------------------------------ export and the command line


def test_an_export_writes_both_zips(installed: Customer, tmp_path: Path) -> None:
    """Teams with pipelines take the managed one on, and never find a secret inside."""
    files = export(installed.web, tmp_path / "zips")
    assert [path.name for path in files] == [
        f"{schema.SOLUTION}_{VERSION.replace('.', '_')}.zip",
        f"{schema.SOLUTION}_{VERSION.replace('.', '_')}_managed.zip",
    ]
    for path, managed in zip(files, ("<Managed>0</Managed>", "<Managed>1</Managed>"), strict=True):
        with zipfile.ZipFile(path) as archive:
            assert managed in archive.read("solution.xml").decode()
            assert all(SECRET not in archive.read(name).decode(errors="ignore") for name in archive.namelist())


def test_an_export_of_nothing_is_refused_with_a_sentence(customer: Customer, tmp_path: Path) -> None:
    """There is nothing to export before an install."""
    with pytest.raises(InstallError, match="Install it first"):
        export(customer.web, tmp_path)


@dataclass
class Servers:
    """An environment and a directory over HTTPS on loopback, as the command line meets them."""

    dataverse: DataverseSimulator
    entra: EntraSimulator
    url: str
    authority: str


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """Serve both until the test is over."""
    certificates = make_authority(tmp_path / "ca")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(certificates.authority))
    dataverse, entra = DataverseSimulator(), EntraSimulator()
    entra.state.settings.device_interval = 1
    running = [make_server(one, 0, str(certificates.server), str(certificates.key)) for one in (dataverse, entra)]
    threads = [threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}) for server in running]
    for thread in threads:
        thread.start()
    yield Servers(dataverse, entra, *(f"https://127.0.0.1:{server.port}" for server in running))
    for server, thread in zip(running, threads, strict=True):
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_command_line_installs_checks_and_removes(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An administrator's day: rehearse, install as a person, check as an application, remove without a question."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAVERSE_CLIENT_ID", seeds.ADMINISTRATOR_APPLICATION)
    monkeypatch.setenv("DATAVERSE_CLIENT_SECRET", "sandbox-admin-secret")
    monkeypatch.setenv("DATAVERSE_TENANT_ID", "sandbox.example")
    (tmp_path / "secret").write_text(SECRET + "\n")
    where = ["--url", servers.url, "--authority", servers.authority]
    app = ["--webhook-url", APP, "--app-user", CLIENT]
    person = ["--tenant", "sandbox.example", "--client-id", seeds.ADMINISTRATOR_APPLICATION]

    assert __main__.main(["install", *where, *app, *person, "--webhook-secret-file", "secret", "--dry-run"]) == 0
    rehearsed = capsys.readouterr()
    assert "would create" in rehearsed.out
    assert "enter the code" in rehearsed.err

    as_app = ["--sign-in", "app"]
    assert __main__.main(["install", *where, *app, *as_app, "--webhook-secret-file", "secret"]) == 0
    assert "Done: " in capsys.readouterr().out
    assert __main__.main(["install", *where, *app, *as_app]) == 0
    assert "Nothing had to be changed." in capsys.readouterr().out

    code = __main__.main(["check", *where, *app, *as_app, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (code, found["fine"]) == (0, True), found
    assert __main__.main(["check", *where, "--webhook-url", "https://other.example", *as_app]) == 1
    assert "-> Run `python -m solution install" in capsys.readouterr().out

    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    assert __main__.main(["remove", *where, *as_app]) == 2
    assert "Nothing was removed." in capsys.readouterr().err
    assert __main__.main(["remove", *where, *as_app, "--yes", "--json"]) == 0
    assert SECRET not in capsys.readouterr().out
    assert "lima_audience" not in servers.dataverse.state.schema.tables


def _sign_in_as_a_browser_does(address: str) -> None:
    """Open a sign-in page that is approved at once, and send the form in it back to the waiting program."""
    page = requests.get(address, timeout=10).text
    action = re.search(r'action="([^"]+)"', page)
    assert action
    fields = re.findall(r'name="([^"]+)" value="([^"]*)"', page)
    requests.post(html.unescape(action[1]), data={name: html.unescape(value) for name, value in fields}, timeout=10)


def test_a_person_signs_in_through_the_browser_once(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is renewed without asking again."""
    opened: list[str] = []

    def open_page(address: str, *_: object, **__: object) -> bool:
        opened.append(address)
        threading.Thread(target=_sign_in_as_a_browser_does, args=(address,)).start()
        return True

    monkeypatch.setattr("webbrowser.open", open_page)
    monkeypatch.setattr("webbrowser.get", lambda *_: SimpleNamespace(open=open_page))
    sign = sign_in(
        servers.url,
        "browser",
        authority=servers.authority,
        tenant="sandbox.example",
        client_id=seeds.ADMINISTRATOR_APPLICATION,
        say=lambda _: None,
    )
    assert sign()["Authorization"] == sign()["Authorization"]
    assert len(opened) == 1


def test_a_sign_in_that_was_declined_is_told_in_a_sentence(servers: Servers) -> None:
    """Nothing else happens, and no name of a person is repeated."""
    servers.entra.state.settings.automatic = False
    shown: list[str] = []

    def decline(sentence: str) -> None:
        shown.append(sentence)
        servers.entra.state.decide(None, "declined")

    with pytest.raises(InstallError, match=r"did not let you sign in \(.*--client-id"):
        sign_in(
            servers.url,
            "device",
            authority=servers.authority,
            tenant="sandbox.example",
            client_id=seeds.ADMINISTRATOR_APPLICATION,
            say=decline,
        )
    assert "enter the code" in shown[0]


@pytest.mark.parametrize(
    ("secret", "tenant", "sentence"),
    [
        ("wrong", "sandbox.example", r"did not let you sign in \(AADSTS7000215\)"),
        ("sandbox-admin-secret", "other", "does not know the tenant"),
    ],
)
def test_an_application_that_cannot_sign_in_is_told_why(servers: Servers, secret: str, tenant: str, sentence: str) -> None:
    """The code of the error is told, and never the secret."""
    servers.entra.state.settings.tenants = ["sandbox.example"]
    env = {
        "DATAVERSE_CLIENT_ID": seeds.ADMINISTRATOR_APPLICATION,
        "DATAVERSE_CLIENT_SECRET": secret,
        "DATAVERSE_TENANT_ID": tenant,
    }
    with pytest.raises(InstallError, match=sentence) as caught:
        sign_in(servers.url, "app", authority=servers.authority, env=env)
    assert secret not in str(caught.value)


def test_a_directory_that_cannot_be_reached_is_told_in_a_sentence(servers: Servers) -> None:
    """The network may be down."""
    env = {"DATAVERSE_CLIENT_ID": "x", "DATAVERSE_CLIENT_SECRET": "y", "DATAVERSE_TENANT_ID": "z"}
    with pytest.raises(InstallError, match="could not be reached"):
        sign_in(servers.url, "app", authority="https://127.0.0.1:9", env=env)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--url", "http://x"], "has to begin with https://"),
        (["--url", "https://x", "--sign-in", "app"], "DATAVERSE_CLIENT_ID and DATAVERSE_CLIENT_SECRET and DATAVERSE_TENANT_ID"),
    ],
)
def test_a_command_that_cannot_start_says_why(
    arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and one sentence."""
    for name in ("DATAVERSE_CLIENT_ID", "DATAVERSE_CLIENT_SECRET", "DATAVERSE_TENANT_ID"):
        monkeypatch.delenv(name, raising=False)
    assert __main__.main(["check", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_tables_and_columns_of_the_simulator_are_those_defined(installed: Customer) -> None:
    """What was made is what was meant, types included."""
    tables = installed.simulator.state.schema
    for table in TABLES:
        assert {column.name for column in table.columns} <= set(tables.table(table.name).columns)
    for name in schema.SEGMENT_TABLES:
        assert {column.name for column in RESULT_COLUMNS} <= set(tables.table(name).columns)
