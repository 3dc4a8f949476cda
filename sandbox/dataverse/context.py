"""What every handler of a request needs: the environment, the caller, the address, the Prefer header - and how it answers."""

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from werkzeug.wrappers import Request, Response

from sandbox.dataverse import errors
from sandbox.dataverse.privileges import Caller
from sandbox.dataverse.queries import Prefer, read_prefer
from sandbox.dataverse.state import State

CALLER = "dataverse.caller"
API = r"/api/data/v9\.\d+"
KEY = r"\((?P<key>(?:[^()']|'(?:[^']|'')*')*)\)"
JSON = "application/json; odata.metadata=minimal"


class Context:
    """One request as its handler sees it."""

    def __init__(self, state: State, request: Request) -> None:
        self.state = state
        self.request = request
        self.caller: Caller = request.environ[CALLER]
        version = re.match(API, request.path)
        self.base = request.host_url.rstrip("/") + (version[0] if version else "/api/data/v9.2")

    @property
    def arguments(self) -> Mapping[str, str]:
        """The query options, decoded; of one that is given twice the first counts."""
        return cast("Mapping[str, str]", self.request.args)

    @property
    def raw_query(self) -> str:
        """The query as it came."""
        return self.request.query_string.decode("latin-1")

    @property
    def prefer(self) -> Prefer:
        """What the Prefer header asks for."""
        return read_prefer(self.request.headers.get("Prefer"))

    def header(self, name: str) -> str | None:
        """Return a header, or None; `null` counts as not given, as Microsoft's own examples send it."""
        value = self.request.headers.get(name)
        return None if value == "null" else value

    def body(self) -> Any:
        """Return the JSON of the body, or raise the 400; an empty body is an empty object."""
        data = self.request.get_data()
        if not data:
            return {}
        try:
            return json.loads(data)
        except ValueError as error:
            raise errors.unreadable(f"Invalid JSON. {error}") from None

    def object(self) -> dict[str, Any]:
        """Return the JSON object of the body, or raise the 400."""
        body = self.body()
        if not isinstance(body, dict):
            raise errors.unreadable("A JSON object was expected in the request payload.")
        return body

    def row_address(self, set_name: str, row_id: str) -> str:
        """Return the address of a row."""
        return f"{self.base}/{set_name}({row_id})"


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON answer with the protocol's headers; bytes are sent as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(data, status, {"OData-Version": "4.0", **(headers or {})}, content_type=JSON)


def no_content(headers: Mapping[str, str] | None = None) -> Response:
    """Return the 204 of a change."""
    return Response(b"", 204, {"OData-Version": "4.0", **(headers or {})})
