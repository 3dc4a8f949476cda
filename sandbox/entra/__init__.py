"""A simulator of Microsoft Entra ID: tokens for applications and for the one person of the sandbox.

It answers what MSAL asks when its authority is `https://127.0.0.1:PORT/<tenant>` and `instance_discovery=False`:
client credentials (secret, certificate assertion, federated assertion), device code, authorization code with PKCE, refresh
token. It also plays App Service's managed identity endpoint (`/msi/token`, header `sandbox-identity-header`).

Actions of the control panel:

===================  ============================================================================================
register             `{client_id, secret, public}`: a new application, or a further secret of a known one
unregister           `{client_id}`: forget an application
remove_secret        `{client_id, secret}`: the end of a rotation
register_identity    `{client_id}`: a user-assigned managed identity
settings             change `sandbox.entra.state.Settings`; answers with all of them
approve, decline     `{user_code}`: a waiting device sign-in; without a code all of them
===================  ============================================================================================

Not imitated: consent, conditional access, groups and roles, several people, certificates registered with an application (an
assertion's signature is not checked), signing keys (tokens are signed with the sandbox's one known key), instance discovery,
user name and password, continuous access evaluation, on-behalf-of, Azure's other managed identity endpoints.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from werkzeug.wrappers import Request, Response

from sandbox.entra.routes import Routes
from sandbox.entra.seeds import seed
from sandbox.entra.state import Directory
from sandbox.web import Clock, Route, Simulator


class EntraSimulator(Simulator):
    """The directory behind one HTTPS address."""

    name = "entra"

    def __init__(self, clock: Clock | None = None) -> None:
        self.state = Directory(clock or Clock())
        seed(self.state)
        super().__init__(self.state.clock)

    def routes(self) -> Iterable[Route]:
        """Return every imitated address."""
        return Routes(self.state).all()

    def actions(self) -> Mapping[str, Callable[..., Any]]:
        """Return what the control panel can do."""
        state = self.state
        return {
            "register": state.register,
            "unregister": lambda client_id: state.applications.pop(client_id, None) is not None,
            "remove_secret": lambda client_id, secret: state.applications[client_id].secrets.discard(secret),
            "register_identity": state.add_identity,
            "settings": lambda **changes: state.change(changes),
            "approve": lambda user_code=None: state.decide(user_code, "approved"),
            "decline": lambda user_code=None: state.decide(user_code, "declined"),
        }

    def handle(self, request: Request) -> Response:
        """Answer after the latency that is set."""
        time.sleep(self.state.settings.latency)
        return super().handle(request)
