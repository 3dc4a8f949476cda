"""POST /api/dataverse/events: Dataverse's webhook. An event is only a doorbell: one message on the queue, 202 at once."""

import hmac

import azure.functions as func

from function_app.product import product
from shared.dataverse.events import BadEvent, read_event
from shared.dataverse.schema import WEBHOOK_HEADER
from shared.errors import AudienceSyncError
from shared.logs import get_logger

blueprint = func.Blueprint()
logger = get_logger(__name__)

# Dataverse strips bodies above 256 KB itself; what is larger is not from it.
MOST_BYTES = 512 * 1024


@blueprint.function_name("dataverse_events")
@blueprint.route(route="dataverse/events", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
def dataverse_events(req: func.HttpRequest) -> func.HttpResponse:
    """Answer 202 once the message is on the queue; 401, 413 or 400 without detail; 500 so that the failure is seen.

    Never 502, 503 or 504: Dataverse would deliver once more (Learn: Use webhooks).
    """
    try:
        door = product().door
        if not _knows_secret(req.headers.get(WEBHOOK_HEADER, ""), door.secrets):
            return func.HttpResponse(status_code=401)
        body = req.get_body()
        if len(body) > MOST_BYTES:
            return func.HttpResponse(status_code=413)
        door.take(read_event(body, req.headers))
    except BadEvent:
        return func.HttpResponse(status_code=400)
    except AudienceSyncError as error:
        logger.error("An event could not be taken", extra={"action": "event-refused", "reason": str(error)})  # noqa: TRY400
        return func.HttpResponse(status_code=500)
    return func.HttpResponse(status_code=202)


def _knows_secret(given: str, secrets: tuple[str, ...]) -> bool:
    """Compare with every accepted secret in constant time."""
    written = given.encode("utf-8", "surrogatepass")
    matches = [hmac.compare_digest(written, secret.encode()) for secret in secrets]  # all of them, however the first ends
    return any(matches)
