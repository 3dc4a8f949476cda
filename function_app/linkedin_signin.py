"""GET /api/linkedin/connect and /callback: the LinkedIn sign-in of one Dynamics user, in that user's browser.

connect takes the one-time ticket from the user's own `lima_signin` row, gives the browser a cookie, and
sends it to LinkedIn with a state that is signed and bound to ticket and cookie. callback changes something
only when ticket, cookie and state belong together, and only once.
"""

import hashlib
import secrets
from datetime import timedelta
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

import azure.functions as func

from function_app.pages import headers, page
from function_app.product import product
from shared.errors import AudienceSyncError, JobEnds, SignInNeeded, TryAgainLater
from shared.linkedin.oauth_state import StateProblem, read_state, sign_state, state_key
from shared.logs import get_logger

if TYPE_CHECKING:
    from function_app.compose import Product

blueprint = func.Blueprint()
logger = get_logger(__name__)

COOKIE = "lima-sign-in"
LIFE = timedelta(minutes=15)
_OVER = "This sign-in address was used already or is too old. Go back to the tab in Dynamics and press Sign in again."
_BUSY = "The sign-in could not be finished just now. Go back to the tab in Dynamics and press Sign in again in a minute."


@blueprint.function_name("linkedin_connect")
@blueprint.route(route="linkedin/connect", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def linkedin_connect(req: func.HttpRequest) -> func.HttpResponse:
    """Send the browser on to LinkedIn; a ticket that is no good gets a page that says what to do."""
    ticket = req.params.get("ticket", "")
    try:
        app = product()
        if app.sign_in_desk.ticket(ticket) is None:
            return page("Sign in again", _OVER, status=410)
        nonce = secrets.token_urlsafe(32)
        state = sign_state(_keys(app)[0], _digest(ticket), nonce, app.clock.now() + LIFE)
        address = app.sign_in_desk.begin(state, app.settings.redirect_uri)
    except AudienceSyncError as error:
        return _trouble(error)
    cookie = _cookie(f"{ticket}.{nonce}", app.settings.public_url, int(LIFE.total_seconds()))
    return func.HttpResponse(status_code=302, headers={**headers(), "Location": address, "Set-Cookie": cookie})


@blueprint.function_name("linkedin_callback")
@blueprint.route(route="linkedin/callback", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def linkedin_callback(req: func.HttpRequest) -> func.HttpResponse:
    """Finish the sign-in and say in plain words what happened."""
    ticket, _, nonce = _cookie_value(req).partition(".")
    try:
        app = product()
        if problem := _problem(app, req.params.get("state", ""), ticket, nonce):
            return page("Nothing was changed", problem, status=400)
        if refused := req.params.get("error"):
            return _refused(app, ticket, refused, req.params.get("error_description", ""))
        return _finished(app, ticket, req.params.get("code", ""))
    except AudienceSyncError as error:
        return _trouble(error)


def _problem(app: "Product", state: str, ticket: str, nonce: str) -> str | None:
    """Return why this callback does not belong to a sign-in that began in this browser; None when it does."""
    found: object = StateProblem.FORGED
    for key in _keys(app):
        found = read_state(key, state, nonce, app.clock.now())
        if found is not StateProblem.FORGED:
            break
    if isinstance(found, StateProblem):
        return str(found)
    if getattr(found, "ticket_id", "") != _digest(ticket):
        return str(StateProblem.OTHER_BROWSER)
    return None


def _refused(app: "Product", ticket: str, error: str, description: str) -> func.HttpResponse:
    from shared.linkedin.oauth import explain_refusal  # noqa: PLC0415  brings an HTTP library that a cold start need not load

    sentence = explain_refusal(error, description)
    if not app.sign_in_desk.refuse(ticket, sentence):
        return page("Nothing was changed", _OVER, status=410)
    return page("Not signed in", sentence, status=200, tell="refused", to=app.settings.dataverse_url)


def _finished(app: "Product", ticket: str, code: str) -> func.HttpResponse:
    try:
        sentence = app.sign_in_desk.finish(ticket, code, app.settings.redirect_uri)
    except (SignInNeeded, JobEnds) as error:
        return page("Not signed in", str(error), status=200, tell="refused", to=app.settings.dataverse_url)
    if sentence is None:
        return page("Nothing was changed", _OVER, status=410)
    return page(
        "Signed in to LinkedIn", f"{sentence} You can close this window.", tell="signed-in", to=app.settings.dataverse_url
    )


def _trouble(error: AudienceSyncError) -> func.HttpResponse:
    logger.warning("A sign-in page could not do its work", extra={"action": "signin-trouble", "reason": str(error)})
    return page("Please try again", _BUSY, status=503 if isinstance(error, TryAgainLater) else 500)


def _keys(app: "Product") -> list[bytes]:
    """Return the keys that sign states: the first signs, all are accepted while keys are being changed."""
    return [state_key(secret) for _, secret in app.settings.signin_keys]


def _digest(ticket: str) -> str:
    """Return what the state says of a ticket; the ticket itself stays between the row and this browser."""
    return hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).hexdigest()


def _cookie(value: str, public_url: str, seconds: int) -> str:
    # Lax, because the browser comes back from LinkedIn by a link. Secure wherever there is TLS at all.
    secure = "; Secure" if public_url.startswith("https://") else ""
    return f"{COOKIE}={value}; Path=/api/linkedin; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


def _cookie_value(req: func.HttpRequest) -> str:
    try:
        found = SimpleCookie(req.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
