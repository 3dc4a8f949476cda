"""GET /api/health: is the app up and are its settings usable? No detail leaves the building."""

import json

import azure.functions as func

from function_app.product import product
from shared.errors import AudienceSyncError
from shared.logs import get_logger

blueprint = func.Blueprint()
logger = get_logger(__name__)


@blueprint.function_name("health")
@blueprint.route(route="health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001  the host passes the request
    """Answer 200 when the settings can be used, 503 when not; the log says what is wrong."""
    try:
        product()
    except AudienceSyncError as error:
        logger.error("The app is not ready", extra={"action": "not-ready", "reason": str(error)})  # noqa: TRY400  no trace needed
        return _answer(503, "not ready")
    return _answer(200, "ok")


def _answer(status: int, word: str) -> func.HttpResponse:
    return func.HttpResponse(
        json.dumps({"status": word}), status_code=status, mimetype="application/json", headers={"Cache-Control": "no-store"}
    )
