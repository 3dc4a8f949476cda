"""The HTTP side of signing in at LinkedIn: pages for people, forms for applications."""

from collections.abc import Iterable
from urllib.parse import parse_qsl

from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from sandbox.linkedin.errors import OAuthRefusal, ShownError
from sandbox.linkedin.oauth import OAuth
from sandbox.linkedin.pages import consent_page, error_page, sign_in_page
from sandbox.linkedin.state import State
from sandbox.web import Route, json_response

_COOKIE = "sandbox_linkedin_session"
_FORM = "application/x-www-form-urlencoded"


class OAuthRoutes:
    """Every address of www.linkedin.com that is imitated."""

    def __init__(self, oauth: OAuth, state: State) -> None:
        self.oauth = oauth
        self.state = state

    def all(self) -> Iterable[Route]:
        """Return the routes."""
        return [
            Route("GET", r"/oauth/v2/authorization", self.authorize, "sign-in and consent pages"),
            Route("POST", r"/oauth/v2/authorization", self.decide, "the person allows or cancels"),
            Route("POST", r"/uas/login", self.sign_in, "the person signs in or cancels"),
            Route("GET", r"/uas/logout", self.sign_out, "the person wants to be somebody else"),
            Route("POST", r"/oauth/v2/accessToken", self.token, "tokens for a code or a refresh token"),
            Route("POST", r"/oauth/v2/introspectToken", self.introspect, "what a token is good for"),
            Route("POST", r"/oauth/v2/revoke", self.revoke, "end a token"),
        ]

    def authorize(self, request: Request) -> Response:
        """Show the page that is due, or send the person straight back."""
        return self._shown(request.query_string.decode("latin-1"), request)

    def sign_in(self, request: Request) -> Response:
        """Begin the person's session, or send them back with their refusal."""
        query = request.form.get("request", "")
        try:
            asked = self.oauth.authorization(dict(parse_qsl(query)))
        except ShownError as error:
            return error_page(str(error))
        if request.form.get("decision") != "sign-in":
            return _redirect(asked.sent_back(error="user_cancelled_login", error_description="The user cancelled LinkedIn login"))
        if request.form.get("person") not in self.state.people:
            return error_page("This person is not known here.")
        answer = _redirect(f"/oauth/v2/authorization?{query}")
        session = self.oauth.sign_in(request.form["person"])
        answer.set_cookie(_COOKIE, session, secure=True, httponly=True, samesite="Lax")
        return answer

    def sign_out(self, request: Request) -> Response:
        """Forget the session and show the sign-in page again."""
        answer = _redirect(f"/oauth/v2/authorization?{request.query_string.decode('latin-1')}")
        answer.delete_cookie(_COOKIE, secure=True, httponly=True, samesite="Lax")
        return answer

    def decide(self, request: Request) -> Response:
        """Send the person back with a code, or with their refusal."""
        query = request.form.get("request", "")
        try:
            asked = self.oauth.authorization(dict(parse_qsl(query)))
        except ShownError as error:
            return error_page(str(error))
        if request.form.get("decision") != "allow":
            words = "The user cancelled the authorization"
            return _redirect(asked.sent_back(error="user_cancelled_authorize", error_description=words))
        person = self._person(request)
        if person is None or self.oauth.unauthorized_scope(asked):
            return self._shown(query, request)
        return _redirect(asked.sent_back(code=self.oauth.allow(person, asked)))

    def token(self, request: Request) -> Response:
        """Answer with tokens."""
        with self.state.lock:
            return json_response(self.oauth.token(_form(request)), headers={"Cache-Control": "no-store"})

    def introspect(self, request: Request) -> Response:
        """Answer with what a token is good for."""
        with self.state.lock:
            return json_response(self.oauth.introspect(_form(request)))

    def revoke(self, request: Request) -> Response:
        """End a token; the answer is empty."""
        with self.state.lock:
            self.oauth.revoke(_form(request))
        return json_response(None)

    def _shown(self, query: str, request: Request) -> Response:
        try:
            asked = self.oauth.authorization(dict(parse_qsl(query)))
        except ShownError as error:
            return error_page(str(error))
        if scope := self.oauth.unauthorized_scope(asked):
            words = f'Scope "{scope}" is not authorized for your application'
            return _redirect(asked.sent_back(error="unauthorized_scope_error", error_description=words))
        person = self._person(request)
        if person is None:
            return sign_in_page(asked, query, self.state.people.values())
        with self.state.lock:
            if self.oauth.has_consent(person, asked):
                return _redirect(asked.sent_back(code=self.oauth.allow(person, asked)))
        return consent_page(asked, query, self.state.people[person])

    def _person(self, request: Request) -> str | None:
        return self.oauth.sessions.get(request.cookies.get(_COOKIE, ""))


def _redirect(address: str) -> Response:
    """Send the browser on; the next request is always a GET."""
    answer = redirect(address, 303)
    answer.headers["Cache-Control"] = "no-store"
    answer.autocorrect_location_header = False
    return answer


def _form(request: Request) -> dict[str, str]:
    if request.mimetype != _FORM:
        raise OAuthRefusal("invalid_request", f"The content type must be {_FORM}")
    return request.form.to_dict()
