"""Our tab and handler go into a form's XML, come out again without a trace, and never break the form schema's rules."""

import re
import uuid
import xml.etree.ElementTree as ET
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solution import commands, formrules, formxml
from solution.xmltext import NotAForm, read

FORM_ID = "7f1a0c66-0c0e-4f5e-9a43-95d2f0f7a001"
OURS = formxml.Tab(FORM_ID, [(1033, "LinkedIn Matched Audience"), (1031, 'LinkedIn "Matched" & Co')], str(uuid.UUID(int=7)))

MICROSOFTS = """<form showImage="true" shownavigationbar="false">
  <tabs>
    <tab name="general" id="{11111111-1111-4111-8111-111111111111}" IsUserDefined="0" verticallayout="true">
      <labels><label description="a &gt; b &quot;c&quot;" languagecode="1033" /></labels>
      <columns><column width="100%"><sections>
        <section name='s' id="{22222222-2222-4222-8222-222222222222}" showlabel="false">
          <rows><row><cell id="{33333333-3333-4333-8333-333333333333}"><control id="msdynmkt_name"
            classid="{4273EDBD-AC1D-40D3-9FB2-095C621B552D}" datafieldname="msdynmkt_name"/></cell></row></rows>
        </section></sections></column></columns>
    </tab>
  </tabs>
  <!-- a comment with a <tab> that is none -->
  <header id="{44444444-4444-4444-8444-444444444444}"><rows><row/></rows></header>{more}
</form>"""
FOREIGN = '<Handler functionName="ms.load" libraryName="ms_/x.js" handlerUniqueId="{55555555-5555-4555-8555-555555555555}"/>'
ONLOAD = '<event name="onload" application="false" active="false">'
LIBRARIES = '<formLibraries><Library name="ms_/x.js" libraryUniqueId="{66666666-6666-4666-8666-666666666666}"/></formLibraries>'
VARIANTS = {
    "without events and libraries": "",
    "with libraries only": LIBRARIES,
    "with another event": f'<events><event name="onsave"><Handlers>{FOREIGN}</Handlers></event></events>{LIBRARIES}',
    "with internal handlers": f"<events>{ONLOAD}<InternalHandlers>{FOREIGN}</InternalHandlers></event></events>",
    "with an empty list of handlers": f"<events>{ONLOAD}<Handlers/></event></events>{LIBRARIES}",
    "with its own handler": f"<events>{ONLOAD}<Handlers>{FOREIGN}</Handlers></event></events>\n{LIBRARIES}",
    "with an empty event": '<events><event name="onload" application="false" active="false" /></events>',
}


def form(more: str = "") -> str:
    """Return a form as Microsoft might write it, with mixed quotes, entities and comments."""
    return MICROSOFTS.replace("{more}", more)


def canonical(xml: str) -> str:
    """Return what the XML means, whatever way it is written."""
    return ET.canonicalize(xml)


@pytest.mark.parametrize("more", VARIANTS.values(), ids=VARIANTS.keys())
def test_taking_ours_out_gives_back_the_form_as_it_was(more: str) -> None:
    """Nothing of ours is left behind, and nothing of Microsoft's has changed."""
    before = form(more)
    after = formxml.without_ours(formxml.with_ours(before, OURS))
    assert canonical(after) == canonical(before)
    assert after == before or "<Handlers/>" in more or "<event name" in more


@pytest.mark.parametrize("more", VARIANTS.values(), ids=VARIANTS.keys())
def test_putting_ours_in_twice_is_the_same_as_once(more: str) -> None:
    """A second install changes nothing."""
    once = formxml.with_ours(form(more), OURS)
    assert formxml.with_ours(once, OURS) == once
    assert formxml.has_tab(once)
    assert formxml.has_handler(once)


@pytest.mark.parametrize("more", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_form_with_ours_breaks_no_rule(more: str) -> None:
    """What is sent to Dataverse was checked before."""
    assert formrules.new_problems(form(more), formxml.with_ours(form(more), OURS)) == []


def test_the_tab_stands_behind_the_last_one_and_shows_our_page() -> None:
    """Marketers find it where the old one was: at the end."""
    root = read(formxml.with_tab(form(), OURS))
    tabs = root.named("tabs")[0].named("tab")
    assert [tab.attributes["name"] for tab in tabs] == ["general", "lima_tab"]
    values = {one.tag: one.text for one in tabs[1].all("Url", "PassParameters", "Security", "WebResourceId")}
    assert values == {
        "Url": "lima_/tab.html",
        "PassParameters": "true",
        "Security": "false",
        "WebResourceId": f"{{{uuid.UUID(int=7)}}}",
    }
    assert [label.attributes["description"] for label in tabs[1].named("labels")[0].named("label")] == [
        "LinkedIn Matched Audience",
        'LinkedIn "Matched" & Co',
    ]


def test_a_tab_that_the_service_wrote_differently_is_still_ours() -> None:
    """Guids come back in other case, with attributes added and labels translated; that is no change."""
    once = formxml.with_tab(form(), OURS)
    ours = OURS.xml()
    theirs = ours.replace('<tab name="lima_tab"', '<tab name="lima_tab" labelid="{0}" ordinalvalue="4"')
    theirs = theirs.replace(OURS._id("cell"), OURS._id("cell").upper())
    theirs = theirs.replace("</labels>", '<label description="Audience" languagecode="1036"/></labels>')
    rewritten = once.replace(ours, theirs)
    assert rewritten != once
    assert formxml.with_tab(rewritten, OURS) == rewritten


def test_a_tab_that_an_administrator_has_hidden_stays_hidden() -> None:
    """An upgrade must not bring back what somebody switched off."""
    hidden = formxml.with_tab(form(), OURS).replace('visible="true"', 'visible="false"')
    assert formxml.with_tab(hidden, OURS) == hidden
    other = formxml.Tab(FORM_ID, [(1033, "New label")], str(uuid.UUID(int=7)))
    assert 'visible="false"' in formxml.with_tab(hidden, other)


def test_a_tab_of_an_older_release_is_brought_up_to_date_where_it_stands() -> None:
    """An upgrade changes the tab in place, and leaves one when somehow two came in."""
    older = formxml.Tab(FORM_ID, [(1033, "Old label")], str(uuid.UUID(int=3)))
    old = formxml.with_tab(form(), older).replace("</tabs>", older.xml() + "</tabs>")
    new = formxml.with_tab(old, OURS)
    assert new == formxml.with_tab(form(), OURS)


def test_a_handler_of_an_older_release_is_renewed_and_a_disabled_one_stays_disabled() -> None:
    """The function's name may change from release to release; an administrator's switch does not."""
    once = formxml.with_handler(form())
    older = once.replace("lima.form.onLoad", "lima.load").replace('enabled="true"', 'enabled="false"')
    renewed = formxml.with_handler(older)
    assert renewed == once.replace('enabled="true"', 'enabled="false"')
    assert not formxml.has_handler(renewed)
    assert canonical(formxml.without_handler(renewed)) == canonical(form())


def test_what_others_put_beside_ours_stays_when_ours_goes() -> None:
    """Elements that we made are kept as soon as somebody else uses them."""
    once = formxml.with_handler(form())
    shared = once.replace("</Handlers>", FOREIGN + "</Handlers>").replace(
        "</formLibraries>", LIBRARIES.removeprefix("<formLibraries>")
    )
    left = formxml.without_handler(shared)
    assert FOREIGN in left
    assert "ms_/x.js" in left
    assert "lima" not in left
    assert formrules.problems(left) == []


def test_a_tab_with_a_greater_than_sign_in_an_attribute_is_read_rightly() -> None:
    """XML allows `>` in attribute values; a search for the end of a tag must not stop there."""
    xml = form().replace('name="general"', 'name="a > b"')
    assert formxml.without_ours(formxml.with_ours(xml, OURS)) == xml


@pytest.mark.parametrize(
    "text", ["", "not xml", "<form><tabs></form>", "<!DOCTYPE form><form><tabs/></form>", "<form/>", "<x><tabs/></x>"]
)
def test_text_that_is_no_form_is_refused_with_a_sentence(text: str) -> None:
    """Nothing is sent for a form that could not be understood."""
    with pytest.raises(NotAForm, match=r"^The form's XML .*\.$"):
        formxml.with_tab(text, OURS)
    assert formrules.problems(text)


def test_the_script_answers_to_the_names_that_forms_and_buttons_use() -> None:
    """The tab's script and the installer agree on the control, the page, the handler and the button's function."""
    script = (Path(formxml.__file__).parent / "tab" / "src" / "form.js").read_text(encoding="utf-8")
    assert f'"{formxml.CONTROL_ID}"' in script
    assert f'"{formxml.PAGE}"' in script
    for function in (formxml.HANDLER, commands.FUNCTION):
        namespace, group, name = function.split(".")
        assert re.search(rf"globalThis\.{namespace} = \{{.*{group}: \{{[^}}]*\b{name}\b", script)


BROKEN = {
    "a doubled id": (OURS.xml(), OURS.xml().replace(OURS._id("cell"), OURS._id("tab")), "used twice"),
    "an id without braces": (OURS._id("tab"), OURS._id("tab").strip("{}"), "no guid in braces"),
    "a doubled tab": (OURS.xml(), OURS.xml() * 2, "Two tabs are called lima_tab"),
    "a tab without columns": ('<column width="100%">', '<column width="wide">', "no width in per cent"),
    "an unlisted library": ('<Library name="lima_/form.js"', '<Library name="lima_/other.js"', "does not list"),
    "a cell that is too high": ("<row/>", "", "spans more rows"),
    "a page without address": ("<Url>lima_/tab.html</Url>", "<Url></Url>", "does not say which"),
    "an empty list of events": ("</form>", "<events/></form>", "more than one element events"),
    "an unknown element": ("</form>", "<lima/></form>", "does not know"),
    "a label without language": (' languagecode="1031"', "", "has no languagecode"),
    "two controls in a cell": ("</control></cell>", '</control><control id="x"/></cell>', "more than one control"),
}


@pytest.mark.parametrize(("old", "new", "sentence"), BROKEN.values(), ids=BROKEN.keys())
def test_each_broken_rule_is_told(old: str, new: str, sentence: str) -> None:
    """A form that breaks a rule is never sent, and the sentence says which rule."""
    good = formxml.with_ours(form(), OURS)
    broken = good.replace(old, new)
    assert broken != good
    assert any(sentence in problem for problem in formrules.new_problems(good, broken))


names = st.text("abcdefg_ >&'é", min_size=1, max_size=8)
spaces = st.sampled_from(["", " ", "\n  ", "<!-- <tab/> -->"])


@st.composite
def forms(draw: st.DrawFn) -> str:
    """Return a form with tabs, libraries and events in any order, written in many ways."""
    tabs = "".join(
        f'{draw(spaces)}<tab name={quoteattr(draw(names))} id="{{{uuid.UUID(int=n + 1)}}}">'
        f'<columns><column width="100%"/></columns></tab>{draw(spaces)}'
        for n in range(draw(st.integers(1, 4)))
    )
    parts = [f"<tabs>{tabs}</tabs>"]
    if draw(st.booleans()):
        parts.append(LIBRARIES)
    if draw(st.booleans()):
        name = draw(st.sampled_from(["onload", "onsave"]))
        inside = draw(st.sampled_from([f"<Handlers>{FOREIGN}</Handlers>", f"<InternalHandlers>{FOREIGN}</InternalHandlers>"]))
        parts.append(f'<events><event name="{name}">{inside}</event></events>')
    order = draw(st.permutations(parts))
    return f"<form>{draw(spaces).join(order)}{draw(spaces)}</form>"


@given(forms())
def test_any_form_comes_back_to_the_character(xml: str) -> None:
    """Whatever Microsoft writes, it is there again after us."""
    with_ours = formxml.with_ours(xml, OURS)
    assert formxml.has_tab(with_ours)
    assert formxml.has_handler(with_ours)
    assert formrules.new_problems(xml, with_ours) == []
    assert formxml.without_ours(with_ours) == xml
