"""The service's error codes with the service's sentences; every one is raised as a `ServiceError`.

Codes and HTTP statuses follow Microsoft's "Web service error codes" and the Web API pages on errors; sentences are
those that the service is seen to give.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.web import Refusal

NOT_FOUND = "0x80040217"
UNKNOWN_SEGMENT = "0x8006088a"
UNKNOWN_PROPERTY = "0x0"
INVALID_QUERY = "0x80060888"
UNREADABLE_BODY = "0x80048d19"
VERSION_MISMATCH = "0x80060882"
DUPLICATE_ALTERNATE_KEY = "0x80060892"
NO_ROW_FOR_KEY = "0x80060891"
DUPLICATE_KEY = "0x80040237"
MISSING_PRIVILEGE = "0x80040220"
ACCESS_DENIED = "0x80048306"
NOT_A_MEMBER = "0x80072560"
USER_DISABLED = "0x80040225"
TOKEN_EXPIRED = "0x8005F101"
UNKNOWN_TABLE = "0x80041102"
INVALID_ARGUMENT = "0x80040203"
IS_REFERENCED = "0x8004f01f"
HAS_CHILDREN = "0x80040227"
TEXT_TOO_LONG = "0x80044331"
OUT_OF_RANGE = "0x80044330"
NOT_AN_OPTION = "0x8004431a"
WRONG_STATUS = "0x80048408"
IMAGE_PROPERTY = "0x8004416b"
DUPLICATE_SCHEMA_NAME = "0x80047013"
NOT_IMITATED = "0x80060893"
PAGING_COOKIE = "0x80041129"
TOO_MANY_PAGED_ROWS = "0x8004e02c"
BATCH_TOO_LARGE = "0x80044160"


class ServiceError(Refusal):
    """An error answer of Dataverse: HTTP status, code and sentence in the service's JSON shape."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, {"error": {"code": code, "message": message}}, headers)
        self.code, self.message = code, message


def row_not_found(table: str, row_id: str) -> ServiceError:
    """Return the 404 for a row that does not exist."""
    return ServiceError(404, NOT_FOUND, f"Entity '{table}' With Id = {row_id} Does Not Exist")


def rows_not_found(table: str, row_ids: Iterable[str]) -> ServiceError:
    """Return the 404 for rows of a bulk message that do not exist."""
    return ServiceError(404, NOT_FOUND, f"Entity '{table}' With Ids = {', '.join(row_ids)} Do Not Exist")


def no_row_for_key(keys: str) -> ServiceError:
    """Return the 404 for an alternate key without a row."""
    return ServiceError(404, NO_ROW_FOR_KEY, f"A record with the specified key values does not exist: {keys}")


def unknown_segment(name: str) -> ServiceError:
    """Return the 404 for a set, action or navigation that does not exist."""
    return ServiceError(404, UNKNOWN_SEGMENT, f"Resource not found for the segment '{name}'.")


def unknown_property(name: str, table: str) -> ServiceError:
    """Return the 400 for a query that names a column the table does not have."""
    message = f"Could not find a property named '{name}' on type 'Microsoft.Dynamics.CRM.{table}'."
    return ServiceError(400, UNKNOWN_PROPERTY, message)


def unknown_body_property(name: str, table: str, table_set: str) -> ServiceError:
    """Return the 400 for a body that names a column the table does not have."""
    message = (
        f"Error identified in Payload provided by the user for Entity :'{table_set}'  ---->  InnerException : "
        f"Microsoft.OData.ODataException: The property '{name}' does not exist on type 'Microsoft.Dynamics.CRM.{table}'. "
        "Make sure to only use property names that are defined by the type."
    )
    return ServiceError(400, UNREADABLE_BODY, message)


def invalid_query(message: str) -> ServiceError:
    """Return the 400 for a query that cannot be understood."""
    return ServiceError(400, INVALID_QUERY, message)


def unreadable(message: str) -> ServiceError:
    """Return the 400 for a body or value that cannot be read."""
    inner = f"An error occurred while validating input parameters: Microsoft.OData.ODataException: {message}"
    return ServiceError(400, UNREADABLE_BODY, inner)


def invalid_argument(message: str) -> ServiceError:
    """Return the 400 for a value that breaks a rule of its table."""
    return ServiceError(400, INVALID_ARGUMENT, message)


def listed(body: Mapping[str, Any], name: str, kind: type = dict) -> list[Any]:
    """Return a list in a body, empty when it is missing; raises the 400 when it holds anything but `kind`."""
    given = body.get(name)
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(one, kind) for one in given):
        raise unreadable(f"The property '{name}' must be a collection.")
    return given


def not_imitated(what: str) -> ServiceError:
    """Return the 501 for a part of the service that this simulator does not imitate."""
    return ServiceError(501, NOT_IMITATED, f"The Dataverse simulator does not imitate {what}.")


def version_mismatch() -> ServiceError:
    """Return the 412 for an ETag that is not the row's any more."""
    message = "The version of the existing record doesn't match the RowVersion property provided."
    return ServiceError(412, VERSION_MISMATCH, message)


def already_exists() -> ServiceError:
    """Return the 412 for a row whose primary key exists already."""
    return ServiceError(412, DUPLICATE_KEY, "A record with matching key values already exists.")


def alternate_key_exists(key: str, columns: Iterable[str], table: str) -> ServiceError:
    """Return the 412 for a row whose alternate key value exists already."""
    message = (
        f"Entity Key {key} violated. A record with the same value for {', '.join(columns)} already exists. "
        f"A duplicate record cannot be created in {table}. Select one or more unique values and try again."
    )
    return ServiceError(412, DUPLICATE_ALTERNATE_KEY, message)


def unknown_table(name: str) -> ServiceError:
    """Return the 400 for a logical name that is not in the metadata."""
    return ServiceError(400, UNKNOWN_TABLE, f"The entity with a name = '{name}' was not found in the MetadataCache.")


def is_referenced(component: str, identity: str, count: int) -> ServiceError:
    """Return the 400 for deleting a component on which others depend."""
    message = (
        f"The {component}({identity}) component cannot be deleted because it is referenced by {count} other components. "
        "For a list of referenced components, use the RetrieveDependenciesForDeleteRequest."
    )
    return ServiceError(400, IS_REFERENCED, message)


def wrong_operand_types(left: str, right: str, operator: str) -> ServiceError:
    """Return the 400 for comparing two types that have no common ground."""
    message = (
        "A binary operator with incompatible types was detected. "
        f"Found operand types 'Edm.{left}' and 'Edm.{right}' for operator kind '{operator}'."
    )
    return invalid_query(message)
