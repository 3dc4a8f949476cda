"""The HTTP side of ad accounts, roles in them, and the caller's own name."""

from collections.abc import Iterable
from typing import Any

from werkzeug.wrappers import Request, Response

from sandbox.linkedin import errors
from sandbox.linkedin.admission import Admission, Call, Handler, number, paged, projected
from sandbox.linkedin.state import AdAccount
from sandbox.web import Route, json_response

_ADS = frozenset({"r_ads", "rw_ads"})
_LARGEST_PAGE = 1000
_FILTERS = {"type", "status", "test", "id", "name", "reference"}
_ROLE_KEY = r"\(account:(?P<account>urn:li:sponsoredAccount:\d+),user:(?P<user>urn:li:person:[^)]+)\)"


class AccountRoutes:
    """Ad accounts and people."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.oauth = admission.oauth
        self.state = admission.state

    def all(self) -> Iterable[Route]:
        """Return the routes."""

        def ads(path: str, resource: str, handler: Handler, about: str) -> Route:
            return Route("GET", f"/rest/{path}", self.admission.guarded(resource, _ADS, handler), about)

        me = self.admission.guarded("me", frozenset({"r_basicprofile"}), self.me)
        return [
            ads("adAccounts", "adAccounts", self.find_accounts, "finder `search`: ad accounts, by pages with a cursor"),
            ads(r"adAccounts/(?P<account_id>\d+)", "adAccounts", self.account, "one ad account"),
            ads("adAccountUsers", "adAccountUsers", self.find_roles, "finder `authenticatedUser`: the caller's roles"),
            ads(f"adAccountUsers/{_ROLE_KEY}", "adAccountUsers", self.one_role, "one role"),
            Route("GET", "/rest/me", me, "the caller's name"),
            Route("GET", "/v2/userinfo", self.userinfo, "the caller's name, as OpenID Connect gives it"),
        ]

    def find_accounts(self, call: Call) -> Response:
        """Answer with a page of the ad accounts that the caller can reach."""
        if call.query.get("q") != "search":
            raise errors.bad_request("The finder of adAccounts is q=search")
        wanted = _filters(call.query.get("search", {}))
        found = [account for account, _ in self.state.reachable(call.person) if _fits(account, wanted)]
        size = number(call.query, "pageSize", 100, least=1, most=_LARGEST_PAGE)
        start = _cursor(call.query.get("pageToken"))
        metadata = {"nextPageToken": f"page-{start + size}"} if start + size < len(found) else {}
        elements = [projected(_account(account), call) for account in found[start : start + size]]
        return json_response({"metadata": metadata, "elements": elements})

    def account(self, call: Call, account_id: str) -> Response:
        """Answer with one ad account."""
        self.state.check_reader(call.person, f"urn:li:sponsoredAccount:{account_id}", call.permission)
        return json_response(projected(_account(self.state.accounts[int(account_id)]), call))

    def find_roles(self, call: Call) -> Response:
        """Answer with the caller's roles."""
        if call.query.get("q") != "authenticatedUser":
            raise errors.bad_request("The finder of adAccountUsers is q=authenticatedUser")
        roles = [self._role(call.person, account.urn, role) for account, role in self.state.reachable(call.person)]
        return paged(call, roles, count=10)

    def one_role(self, call: Call, account: str, user: str) -> Response:
        """Answer with one role in an ad account that the caller can reach too."""
        self.state.check_reader(call.person, account, call.permission)
        person = user.rpartition(":")[2]
        role = self.state.role(person, account)
        if role is None:
            raise errors.LinkedInRefusal(404, "Entity not found", "NOT_FOUND", 0)
        return json_response(self._role(person, account, role))

    def _role(self, person: str, account: str, role: str) -> dict[str, Any]:
        stamp = {"time": 1_700_000_000_000, "actor": "urn:li:unknown:0"}
        return {
            "account": account,
            "user": self.state.people[person].urn,
            "role": role,
            "changeAuditStamps": {"created": stamp, "lastModified": stamp},
            "version": {"versionTag": "1"},
        }

    def me(self, call: Call) -> Response:
        """Answer with the caller's id and name."""
        person = self.state.people[call.person]
        name = {"localizedFirstName": person.first_name, "localizedLastName": person.last_name}
        return json_response({"id": person.id} | name)

    def userinfo(self, request: Request) -> Response:
        """Answer as OpenID Connect does; this address has no version."""
        with self.state.lock:
            token = self.oauth.check(request.headers.get("Authorization"))
        if not {"openid", "profile"} <= set(token.scopes):
            raise errors.not_allowed("userinfo.GET.NO_VERSION")
        person = self.state.people[token.person]
        name = {"name": f"{person.first_name} {person.last_name}", "locale": {"country": "US", "language": "en"}}
        return json_response({"sub": person.id, "given_name": person.first_name, "family_name": person.last_name} | name)


def _filters(search: Any) -> dict[str, Any]:
    if not isinstance(search, dict) or not search.keys() <= _FILTERS:
        raise errors.bad_request("Invalid search: it may hold " + ", ".join(sorted(_FILTERS)))
    if search.get("test", "false") not in ("true", "false"):
        raise errors.bad_request("Invalid search: test is true or false")
    for name in search.keys() - {"test"}:
        if not isinstance(search[name], dict) or not isinstance(search[name].get("values"), list):
            raise errors.bad_request(f"Invalid search: {name} needs (values:List(...))")
    return search


def _fits(account: AdAccount, wanted: dict[str, Any]) -> bool:
    shown = _account(account) | {"id": account.urn}
    for name, condition in wanted.items():
        if name == "test":
            if (condition == "true") != account.test:
                return False
        elif shown[name] not in condition["values"]:
            return False
    return True


def _account(account: AdAccount) -> dict[str, Any]:
    organization = f"urn:li:organization:{account.organization}"
    return {
        "id": account.id,
        "name": account.name,
        "type": account.type,
        "status": account.status,
        "currency": account.currency,
        "test": account.test,
        "reference": organization,
        "referenceInfo": {"organization": {"id": organization, "name": "Sample Organisation"}},
        "servingStatuses": ["RUNNABLE"] if account.status == "ACTIVE" else ["STOPPED"],
        "version": {"versionTag": "1"},
    }


def _cursor(token: str | None) -> int:
    if token is None:
        return 0
    if not token.startswith("page-") or not token[5:].isdecimal():
        raise errors.bad_request("Invalid pageToken")
    return int(token[5:])
