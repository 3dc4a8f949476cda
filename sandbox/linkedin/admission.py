"""What every call to LinkedIn's REST API must bring before it is looked at, and how answers are paged and projected."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Request, Response

from sandbox.linkedin import errors
from sandbox.linkedin.limits import Limits
from sandbox.linkedin.members import read_json
from sandbox.linkedin.oauth import OAuth, Token
from sandbox.linkedin.restli import Malformed, names, parse_query
from sandbox.linkedin.state import State
from sandbox.linkedin.versions import is_active
from sandbox.web import json_response

Handler = Callable[..., Response]


@dataclass(frozen=True)
class Call:
    """A request that has been admitted."""

    request: Request
    token: Token
    query: dict[str, Any]
    permission: str

    @property
    def person(self) -> str:
        """Return who is calling."""
        return self.token.person

    @property
    def rest_method(self) -> str:
        """Return the Rest.li method that the caller names, or nothing."""
        return self.request.headers.get("X-RestLi-Method", "").upper()

    def body(self) -> dict[str, Any]:
        """Return the JSON object of the body; raises the 400 of anything else."""
        found = read_json(self.request.get_data(cache=False))
        if not isinstance(found, dict):
            raise errors.bad_request("The request body must be a JSON object", "MALFORMED_BODY")
        return found


class Admission:
    """The gateway: headers, token, version, rate limits, scopes, query, in this order."""

    def __init__(self, oauth: OAuth, state: State, limits: Limits) -> None:
        self.oauth = oauth
        self.state = state
        self.limits = limits

    def guarded(self, resource: str, scopes: frozenset[str], handler: Handler, *, locked: bool = True) -> Handler:
        """Return what answers a request: `handler` with the admitted `Call`, and with the state locked unless it sees to that."""

        def answer(request: Request, **path: str) -> Response:
            call = self._admitted(request, resource, scopes)
            if not locked:
                return handler(call, **path)
            with self.state.lock:
                return handler(call, **path)

        return answer

    def _admitted(self, request: Request, resource: str, scopes: frozenset[str]) -> Call:
        _check_headers(request)
        now = self.state.clock.time()
        version = request.headers.get("LinkedIn-Version", "")
        permission = f"{resource}.{request.headers.get('X-RestLi-Method', request.method)}.{version}01"
        with self.state.lock:
            token = self.oauth.check(request.headers.get("Authorization"))
            if not version:
                raise errors.no_version()
            if not is_active(version.partition(".")[0], now, versions_end=self.state.settings.versions_end):
                raise errors.inactive_version(version)
            self.limits.count(resource, token.person, now)
        if not scopes & set(token.scopes):
            raise errors.not_allowed(permission)
        try:
            query = parse_query(_query_string(request))
        except Malformed as error:
            raise errors.bad_request(f"Invalid query parameters passed to request: {error}") from None
        return Call(request, token, query, permission)


def projected(entity: dict[str, Any], call: Call) -> dict[str, Any]:
    """Return the fields of an entity that were asked for; what `referenceInfo` adds has to be asked for."""
    if "fields" in call.query:
        return {name: entity[name] for name in names(call.query["fields"]) if name in entity}
    return {name: value for name, value in entity.items() if name != "referenceInfo"}


def number(query: dict[str, Any], name: str, default: int, *, least: int = 0, most: int | None = None) -> int:
    """Return a whole number of the query, or `default`; raises the 400 of anything else."""
    text = query.get(name, str(default))
    if not isinstance(text, str) or not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
        raise errors.bad_request(f"Invalid value of {name}")
    return int(text)


def paged(call: Call, found: list[dict[str, Any]], count: int | None = None) -> Response:
    """Answer with offset paging; without `count`, and no default, everything comes back."""
    start = number(call.query, "start", 0)
    size = number(call.query, "count", count or max(len(found), 1), least=1)
    elements = [projected(element, call) for element in found[start : start + size]]
    return json_response({"paging": {"start": start, "count": size, "links": [], "total": len(found)}, "elements": elements})


def _check_headers(request: Request) -> None:
    """Refuse what LinkedIn's gateway refuses before it looks at a token."""
    headers = request.headers
    if request.method == "POST" and "Content-Length" not in headers and "Transfer-Encoding" not in headers:
        raise errors.LinkedInRefusal(411, "Length Required")
    for name in ("LinkedIn-Version", "X-Restli-Protocol-Version", "X-RestLi-Method", "Authorization"):
        if "," in headers.get(name, ""):
            raise errors.bad_request(f"The header {name} was sent more than once")
    if headers.get("X-Restli-Protocol-Version") != "2.0.0":
        raise errors.bad_request("X-Restli-Protocol-Version 2.0.0 is the only one that is imitated")


def _query_string(request: Request) -> str:
    """Return the raw query; a long one may travel in the body of a POST that says it is a GET (query tunnelling)."""
    if request.environ.get("sandbox.linkedin.tunnelled"):
        return request.get_data(as_text=True)
    return request.query_string.decode("latin-1")
