"""Installing choices, tables and columns: create what is missing, change what differs, leave the rest alone."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from shared.dataverse.protocol import quoted
from shared.dataverse.schema import SOLUTION
from solution import metadata
from solution.definitions import CHOICES, RESULT_COLUMNS, TABLES, Choice, Column, Table
from solution.environment import FoundTable, attribute_path, find_tables
from solution.run import Run
from solution.web import InstallError, Web, find, rows

# Made on their own: Dataverse makes a lookup with its relationship, and a file column after its table.
APART = ("lookup", "file")


def install_tables(run: Run) -> None:
    """Install choices, our tables, and the result columns of each segment table that exists here."""
    choices = {choice.name: _install_choice(run, choice) for choice in CHOICES}
    for table in TABLES:
        _install_table(run, table, choices)
    for name in run.environment.segment_tables():
        _install_columns(run, name, RESULT_COLUMNS, choices)


# ------------------------------------------------------------------ choices


def find_choice(web: Web, name: str) -> dict[str, Any] | None:
    """Return a global choice with its options, or None."""
    return find(web, f"GlobalOptionSetDefinitions(Name={quoted(name)})")


def _install_choice(run: Run, choice: Choice) -> str:
    """Install one global choice and return its metadata id."""
    present = find_choice(run.web, choice.name)
    if present is None:
        made = run.web.post("GlobalOptionSetDefinitions", metadata.choice_json(choice, run.languages), solution=True)
        run.report.add("created", f"choice {choice.name}")
        return made.row_id or str((find_choice(run.web, choice.name) or {})["MetadataId"])
    _change_options(run, choice, present)
    return str(present["MetadataId"])


def _change_options(run: Run, choice: Choice, present: Mapping[str, Any]) -> None:
    labels = {option["Value"]: option["Label"] for option in present.get("Options", ())}
    for value, text in choice.options.items():
        body = {"OptionSetName": choice.name, "Value": int(value), "Label": run.languages.label(text)}
        what = f"option {text.english} of choice {choice.name}"
        if int(value) not in labels:
            run.web.post("InsertOptionValue", body | {"SolutionUniqueName": SOLUTION})
            run.report.add("created", what)
            run.publish.choices.add(choice.name)
        elif not run.languages.says(labels[int(value)], text):
            run.web.post("UpdateOptionValue", body | {"MergeLabels": True, "SolutionUniqueName": SOLUTION})
            run.report.add("changed", what, "its label")
            run.publish.choices.add(choice.name)


# ------------------------------------------------------------------ tables


def _install_table(run: Run, table: Table, choices: Mapping[str, str]) -> None:
    if table.name not in run.environment.tables:
        _create_table(run, table, choices)
        return
    _relabel(run, table)
    _install_columns(run, table.name, table.columns, choices)


def _create_table(run: Run, table: Table, choices: Mapping[str, str]) -> None:
    """Create a table with its columns in one request; those that Dataverse left out of it follow one by one."""
    together = [column for column in table.columns if column.kind not in APART]
    bodies = [metadata.column_json(column, run.languages, choices) for column in together]
    run.web.post("EntityDefinitions", metadata.table_json(table, bodies, run.languages), solution=True)
    run.report.add("created", f"table {table.name}", f"with {len(together)} columns")
    run.environment.tables |= _made(run.web, table)
    run.publish.tables.add(table.name)
    present: Collection[str] = {column.name for column in together} if run.web.dry else columns_of(run.web, table.name)
    for column in table.columns:
        if column.name not in present:
            _create_column(run, table.name, column, choices)


def _made(web: Web, table: Table) -> dict[str, FoundTable]:
    if web.dry:
        return {table.name: FoundTable(table.name, table.schema_name, f"{table.name}s", f"{table.name}id")}
    return find_tables(web, [table.name])


def _relabel(run: Run, table: Table) -> None:
    path = f"EntityDefinitions(LogicalName={quoted(table.name)})"
    present = run.web.get(path)
    changes = metadata.table_changes(table, present, run.languages)
    if changes:
        run.web.put(path, metadata.whole(present, changes))
        run.report.add("changed", f"table {table.name}", ", ".join(changes))
        run.publish.tables.add(table.name)


# ------------------------------------------------------------------ columns


def columns_of(web: Web, table: str) -> dict[str, dict[str, Any]]:
    """Return the definitions of all columns of a table, by name."""
    return {one["LogicalName"]: one for one in rows(web, attribute_path(table))}


def _install_columns(run: Run, table: str, columns: Sequence[Column], choices: Mapping[str, str]) -> None:
    """Install columns on a table that exists."""
    present = columns_of(run.web, table)
    changed = False
    for column in columns:
        if column.name not in present:
            _create_column(run, table, column, choices)
            changed = True
        else:
            changed |= _change_column(run, table, column, present[column.name])
    if not changed:
        run.report.add("unchanged", f"columns of {table}")


def _create_column(run: Run, table: str, column: Column, choices: Mapping[str, str]) -> None:
    if column.kind == "lookup":
        run.web.post("RelationshipDefinitions", metadata.lookup_json(table, column, run.languages), solution=True)
    else:
        run.web.post(attribute_path(table), metadata.column_json(column, run.languages, choices), solution=True)
    run.report.add("created", f"column {table}.{column.name}")
    run.publish.tables.add(table)


def _change_column(run: Run, table: str, column: Column, present: Mapping[str, Any]) -> bool:
    """Bring a column up to date; True when something was changed."""
    if metadata.has_other_type(column, present):
        raise InstallError(
            f"The table {table} already has a column {column.name} of another type ({metadata.type_of(present)}). "
            "Somebody else made it; rename or delete it in Power Apps, then run the installer again."
        )
    changes = metadata.column_changes(column, present, run.languages)
    if not changes:
        return False
    run.web.put(attribute_path(table, column.name), metadata.whole(present, changes))
    run.report.add("changed", f"column {table}.{column.name}", ", ".join(changes))
    run.publish.tables.add(table)
    return True
