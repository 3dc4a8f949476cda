"""What the installer makes agrees with what the worker reads and writes, and is metadata that Dataverse takes."""

import re
import tomllib
from pathlib import Path

import pytest

from shared.dataverse import schema
from solution import VERSION, metadata
from solution.definitions import (
    AUDIENCE,
    CHOICES,
    MARKETER,
    NAMES,
    RESULT_COLUMNS,
    SIGN_IN,
    TABLES,
    WORKER,
    Choice,
    Column,
)
from solution.texts import Languages, Text

ENGLISH_AND_GERMAN = Languages(1033, (1033, 1031))
ALL_COLUMNS = {
    AUDIENCE.name: AUDIENCE.columns,
    SIGN_IN.name: SIGN_IN.columns,
    "result": RESULT_COLUMNS,
}
EVERY_COLUMN = [(table, column) for table, columns in ALL_COLUMNS.items() for column in columns]


@pytest.mark.parametrize("table", list(NAMES))
def test_every_column_the_worker_knows_is_installed_and_no_other(table: str) -> None:
    """The schema module is the single source of names: definitions neither miss one nor add one."""
    key = {f"{table}id"}
    assert {column.name for column in ALL_COLUMNS[table]} == {str(name) for name in NAMES[table]} - key


def test_every_choice_value_the_worker_knows_has_a_text() -> None:
    """A status without a label would show as a bare number."""
    enums = (schema.Status, schema.Command, schema.Origin, schema.SignInStatus, schema.SignInCommand)
    assert [set(choice.options) for choice in CHOICES] == [set(enum) for enum in enums]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.name)
def test_choice_values_carry_the_publishers_prefix(choice: Choice) -> None:
    """Values of other publishers could collide with ours otherwise."""
    assert all(str(int(value)).startswith(str(schema.OPTION_PREFIX)) for value in choice.options)
    assert choice.name.startswith(schema.PREFIX + "_")


@pytest.mark.parametrize(("table", "column"), EVERY_COLUMN, ids=lambda one: getattr(one, "name", one))
def test_names_texts_and_limits_of_a_column_are_what_dataverse_takes(table: str, column: Column) -> None:
    """Names begin with the prefix, texts are in both languages, and lengths stay within the service's limits."""
    assert re.fullmatch(r"lima_[A-Za-z]\w{0,44}", column.schema_name), table
    for text, longest in ((column.title, 50), (column.about, 2000)):
        assert 0 < len(text.english) <= longest
        assert 0 < len(text.german) <= longest
    limits = {"text": 4000, "address": 4000, "memo": 1_048_576}
    if column.kind in limits:
        assert 0 < column.length <= limits[column.kind]
    if column.kind == "choice":
        assert column.choice in {choice.name for choice in CHOICES}


def test_custom_lookups_have_the_navigation_names_that_the_worker_binds() -> None:
    """The navigation property of a custom lookup is its schema name, capitals included."""
    schema_names = {column.schema_name for _, column in EVERY_COLUMN if column.kind == "lookup"}
    assert schema_names == {schema.AUDIENCE_SIGN_IN_USER_NAVIGATION, schema.LIVE_SET_BY_NAVIGATION}


def test_tables_have_the_names_that_the_worker_addresses() -> None:
    """The first column names a row; logical names are those of the schema module."""
    assert [table.name for table in TABLES] == [schema.AUDIENCE_TABLE, schema.SIGN_IN_TABLE]
    assert all(table.columns[0].name == "lima_name" and table.columns[0].kind == "text" for table in TABLES)


def test_labels_come_in_the_languages_of_the_environment() -> None:
    """Dataverse refuses a label in a language that is not switched on, and wants one in its base language."""
    text = Text("Ready", "Bereit")
    assert _texts(ENGLISH_AND_GERMAN, text) == {1033: "Ready", 1031: "Bereit"}
    assert _texts(Languages(1031, (1031,)), text) == {1031: "Bereit"}
    assert _texts(Languages(1036, (1036, 1033)), text) == {1036: "Ready", 1033: "Ready"}


def _texts(languages: Languages, text: Text) -> dict[int, str]:
    return {one["LanguageCode"]: one["Label"] for one in languages.label(text)["LocalizedLabels"]}


@pytest.mark.parametrize(("table", "column"), EVERY_COLUMN, ids=lambda one: getattr(one, "name", one))
def test_a_column_read_back_as_it_was_made_needs_no_change(table: str, column: Column) -> None:
    """Otherwise a second install would change something."""
    if column.kind == "lookup":
        made = metadata.lookup_json(table, column, ENGLISH_AND_GERMAN)["Lookup"]
    else:
        made = metadata.column_json(column, ENGLISH_AND_GERMAN, {column.choice: "1"})
    assert not metadata.has_other_type(column, made)
    assert metadata.column_changes(column, made, ENGLISH_AND_GERMAN) == {}


def test_a_changed_label_or_a_longer_text_changes_the_column_and_a_shorter_one_does_not() -> None:
    """An upgrade brings new words and room, and never cuts what is stored."""
    column = AUDIENCE.columns[0]
    made = metadata.column_json(column, ENGLISH_AND_GERMAN, {})
    other = ENGLISH_AND_GERMAN.label(Text("x", "y"))
    assert metadata.column_changes(column, made | {"MaxLength": 10}, ENGLISH_AND_GERMAN) == {"MaxLength": column.length}
    relabelled = metadata.column_changes(column, made | {"DisplayName": other}, ENGLISH_AND_GERMAN)
    assert list(relabelled) == ["DisplayName"]
    assert ENGLISH_AND_GERMAN.says(relabelled["DisplayName"], column.title)
    assert metadata.column_changes(column, made | {"MaxLength": 4000}, ENGLISH_AND_GERMAN) == {}


def test_a_marketer_reads_no_sign_in_but_their_own() -> None:
    """Whoever can read a sign-in address could attach another LinkedIn account to it."""
    assert set(MARKETER.grants[schema.SIGN_IN_TABLE].values()) == {"Basic"}
    assert "Delete" not in MARKETER.grants[schema.AUDIENCE_TABLE]


def test_the_app_may_write_nothing_but_its_own_tables_and_segments() -> None:
    """A person's data in contacts and leads is only ever read."""
    writable = {table for table, verbs in WORKER.grants.items() if {"Create", "Write", "Delete"} & set(verbs)}
    assert writable == {schema.AUDIENCE_TABLE, schema.SIGN_IN_TABLE, *schema.SEGMENT_TABLES}
    assert all(set(WORKER.grants[table]) == {"Read", "Write"} for table in schema.SEGMENT_TABLES)


def test_relationship_names_fit_into_dataverse() -> None:
    """A schema name has at most 100 characters and begins with the publisher's prefix."""
    lookups = [(table, column) for table in schema.SEGMENT_TABLES for column in RESULT_COLUMNS if column.kind == "lookup"]
    names = [metadata.relationship_name(table, column) for table, column in lookups]
    assert len(set(names)) == len(schema.SEGMENT_TABLES)
    assert all(name.startswith("lima_") and len(name) <= 100 for name in names)


def test_the_solution_has_the_products_version() -> None:
    """A release raises both, so that an environment tells which release it holds."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert f"{project['project']['version']}.0" == VERSION
