"""A simulator of LinkedIn: signing in, ad accounts with roles, matched audiences (DMP segments) and their members.

One HTTPS address plays both www.linkedin.com (`/oauth/v2/...`) and api.linkedin.com (`/rest/...`). Two people can sign in:
`ada` (several ad accounts, of which one only as VIEWER, one CANCELED, one for tests) and `ben` (one account, and one as VIEWER).

Actions of the control panel (`POST /__sandbox__/do/NAME`):

=================  ==================================================================================================
segments           all segments with their status and counts
members            `{segment_id}`: the members as sorted hex texts
member_digest      `{segment_id}`: `count`, and `sha256` over the sorted digests, for large audiences
set_status         `{segment_id, status}`: hold a status (ARCHIVED, EXPIRED, FAILED, ...); null lets it go on
grant              `{person, scopes, client_id}`: tokens as the token address gives them, without a browser
end_tokens         `{person, code, refresh_too}`: tokens answer 401 with INVALID_, REVOKED_ or EXPIRED_ACCESS_TOKEN
register_redirect  `{uri, client_id}`: an address that people may be sent back to; none is registered at first
app_scopes         `{scopes, client_id}`: the scopes that the app's products give
set_role           `{person, account, role}`: account by number; null takes the role away
many_accounts      `{person, count}`: that many further ad accounts
no_accounts        `{person}`: take all of a person's roles away
speed              `{spread, find, build, update}`: "at once", "after N looks" or "after N seconds" (see `state.Speeds`)
settings           change `state.Settings`, `oauth.OAuthSettings`, or `users_per_minute`; answers with all of them
quota              `{resource, app, member}`: calls a UTC day, for example to `dmpSegments/users`; null means no limit
latency            `{seconds}`: each answer waits, without work for the processor
addresses_seen     the requests that carried an at sign, which no request of an honest product does
=================  ==================================================================================================

Faults only LinkedIn knows (`kind` of a planned fault; all others are in `sandbox.web.Fault`):

======================  =============================================================================================
element-failures        some elements of a batch fail inside a 200; `body`: `{failing, status, message}` or a number
wrong-length            a batch is applied, the answer lacks elements; `body`: how many (negative: has too many)
batch-applied-then-5xx  a batch is applied, the answer is a 500 (or `status`)
created-then-dropped    a segment is created, the connection closed without an answer
created-then-409        a segment is created, the answer is a 409
conflict                a 409, and nothing is done
slow-spread             a segment is created, and is a 404 by its id for `seconds`
just-issued-401         65601, but only for a token that is younger than `seconds` (0: any)
throttled               429 without Retry-After, and nothing is done
======================  =============================================================================================

Not imitated: Rest.li 1.0; query tunnelling with multipart bodies; projections inside fields; PATCH of nested fields and
`$delete`; list uploads (CSV), companies, predictive audiences, campaigns (so that a segment is always unused: ARCHIVED after 30
days without a change, EXPIRED after 90), Lead Sync; members other than SHA256_EMAIL, which are accepted and not remembered;
development tier; two-legged tokens; PKCE; passwords; what LinkedIn does with a CANCELED account; quotas' true values (none is
set); matching (a fixed share of the members matches). `inputCount` counts a member that is sent again only once.
The 404 of a segment that has not spread yet, the refusal of EXPIRED and FAILED, the 400 without a version, and most texts of
errors are as others report them or as we suppose; see `errors.py`.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from werkzeug.wrappers import Request, Response

from sandbox.linkedin import errors
from sandbox.linkedin.account_routes import AccountRoutes
from sandbox.linkedin.admission import Admission
from sandbox.linkedin.control import ControlPanel
from sandbox.linkedin.faults import Faults
from sandbox.linkedin.limits import Limits
from sandbox.linkedin.oauth import OAuth
from sandbox.linkedin.oauth_routes import OAuthRoutes
from sandbox.linkedin.routes import SegmentRoutes
from sandbox.linkedin.seeds import CLIENT_ID, CLIENT_SECRET, seed
from sandbox.linkedin.state import State
from sandbox.web import CONTROL, Clock, Fault, Route, Simulator


class LinkedInSimulator(Simulator):
    """LinkedIn behind one HTTPS address."""

    name = "linkedin"

    def __init__(
        self,
        clock: Clock | None = None,
        client_id: str = CLIENT_ID,
        client_secret: str = CLIENT_SECRET,
        redirect_uris: Iterable[str] = (),
    ) -> None:
        clock = clock or Clock()
        self.oauth, self.state, self.limits = OAuth(clock), State(clock), Limits()
        self.addresses_seen: list[dict[str, Any]] = []
        seed(self.oauth, self.state, client_id, client_secret)
        for uri in redirect_uris:
            self.oauth.register_redirect(uri)
        self._panel = ControlPanel(self.oauth, self.state, self.limits, client_id)
        self._faults = Faults(self.oauth, self.state, self._answer)
        super().__init__(clock)

    def routes(self) -> Iterable[Route]:
        """Return every imitated address."""
        admission = Admission(self.oauth, self.state, self.limits)
        subjects = (OAuthRoutes(self.oauth, self.state), AccountRoutes(admission), SegmentRoutes(admission))
        return [route for subject in subjects for route in subject.all()]

    def actions(self) -> Mapping[str, Callable[..., Any]]:
        """Return what the control panel can do."""
        return self._panel.actions() | {"addresses_seen": lambda: self.addresses_seen}

    def named_fault(self, fault: Fault, request: Request) -> Response | None:
        """Misbehave as only LinkedIn does; None when the request is to be answered as usual."""
        return self._faults.strike(fault, request) if fault.kind in self._faults.kinds else super().named_fault(fault, request)

    def respond(self, request: Request) -> Response:
        """Answer as LinkedIn does, with its own headers on everything but the control panel."""
        if request.path.startswith(CONTROL):
            return super().respond(request)
        self._look_for_addresses(request)
        response = super().respond(request)
        response.headers["x-li-uuid"] = uuid.uuid4().hex
        response.headers["x-li-request-id"] = uuid.uuid4().hex
        response.headers["x-li-fabric"] = "sandbox"
        response.headers.setdefault("x-restli-protocol-version", "2.0.0")
        return response

    def handle(self, request: Request) -> Response:
        """Answer after the latency that is set; a tunnelled query becomes the GET that it is."""
        if self.state.settings.latency:
            time.sleep(self.state.settings.latency)
        if request.method == "POST" and request.headers.get("X-HTTP-Method-Override") == "GET":
            request.environ["sandbox.linkedin.tunnelled"] = True
            request.method = "GET"
        return super().handle(request)

    def unknown_route(self, request: Request) -> Response:
        """Answer as LinkedIn does to an address it does not have."""
        refusal = errors.LinkedInRefusal(404, f"Resource {request.path.strip('/')} does not exist", "RESOURCE_NOT_FOUND", 0)
        return refusal.response()

    def _look_for_addresses(self, request: Request) -> None:
        """Note a request that carries an at sign in its address or body, without keeping what it carried."""
        query, in_rest = request.query_string, request.path.startswith("/rest/")
        if b"@" in query or b"%40" in query or "@" in request.path or (in_rest and b"@" in request.get_data()):
            self.addresses_seen.append({"method": request.method, "path": request.path, "at": self.clock.time()})
