"""What is found in an environment before anything is done: who signs in, languages, and which tables exist."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shared.dataverse.protocol import quoted
from shared.dataverse.schema import SEGMENT_TABLES
from solution.definitions import ROLES, TABLES
from solution.texts import ENGLISH, Languages
from solution.web import InstallError, Refused, Web, any_of, first, rows


@dataclass(frozen=True)
class FoundTable:
    """A table of the environment: what its addresses and privileges are made of."""

    name: str
    schema_name: str
    set_name: str
    key: str


@dataclass
class Environment:
    """What the installer knows of an environment. `tables` grows when tables are created."""

    user_id: str
    organization_id: str
    root_unit: str
    languages: Languages
    tables: dict[str, FoundTable] = field(default_factory=dict)

    def segment_tables(self) -> list[str]:
        """Return the segment tables that exist here, in the order of the schema."""
        return [name for name in SEGMENT_TABLES if name in self.tables]


def look_around(web: Web) -> Environment:
    """Return what an environment is like. Raises InstallError when it cannot be one."""
    me = web.get("WhoAmI")
    try:
        user_id, organization_id = me["UserId"], me["OrganizationId"]
    except (TypeError, KeyError) as error:
        raise InstallError("The answer to WhoAmI is not Dataverse's. Check the address given with --url.") from error
    return Environment(
        user_id, organization_id, _root_unit(web, me["BusinessUnitId"]), _languages(web), find_tables(web, table_names())
    )


def table_names() -> list[str]:
    """Return every table that the product has to do with: its own, segments, and what its roles read."""
    granted = (table for role in ROLES for table in role.grants)
    return sorted({*(table.name for table in TABLES), *SEGMENT_TABLES, *granted})


def find_tables(web: Web, names: Iterable[str]) -> dict[str, FoundTable]:
    """Return those of the tables that exist, by name."""
    wanted = any_of("LogicalName", list(names))
    found = rows(web, f"EntityDefinitions?$select=LogicalName,SchemaName,EntitySetName,PrimaryIdAttribute&$filter={wanted}")
    return {one["LogicalName"]: _table(one) for one in found}


def _table(found: Mapping[str, str]) -> FoundTable:
    return FoundTable(found["LogicalName"], found["SchemaName"], found["EntitySetName"], found["PrimaryIdAttribute"])


def _root_unit(web: Web, mine: str) -> str:
    """Return the business unit at the top, where roles are made; the caller's own when it cannot be told."""
    top = first(web, "businessunits?$select=businessunitid&$filter=_parentbusinessunitid_value eq null")
    return str(top["businessunitid"]) if top else mine


def _languages(web: Web) -> Languages:
    organization = first(web, "organizations?$select=languagecode") or {}
    base = organization.get("languagecode") or ENGLISH
    try:
        enabled = web.get("RetrieveProvisionedLanguages()").get("RetrieveProvisionedLanguages") or [base]
    except Refused as refused:
        if not refused.is_not_offered:
            raise
        enabled = [base]
    return Languages(base, tuple(enabled))


def attribute_path(table: str, column: str = "") -> str:
    """Return the address of a table's columns, or of one."""
    path = f"EntityDefinitions(LogicalName={quoted(table)})/Attributes"
    return f"{path}(LogicalName={quoted(column)})" if column else path
