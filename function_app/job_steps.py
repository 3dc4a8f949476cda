"""Queue audience-steps: one message is one short stretch of work. Its poison queue: the job is marked failed."""

import azure.functions as func

from function_app.product import product
from shared.errors import UnexpectedAnswer
from shared.logs import get_logger
from shared.storage.queue import read_message

blueprint = func.Blueprint()
logger = get_logger(__name__)

QUEUE = "audience-steps"


@blueprint.function_name("job_steps")
@blueprint.queue_trigger(arg_name="message", queue_name=QUEUE, connection="AzureWebJobsStorage")
def job_steps(message: func.QueueMessage) -> None:
    """Do what the message asks."""
    product().handle(read_message(message.get_body()))


@blueprint.function_name("job_steps_poison")
@blueprint.queue_trigger(arg_name="message", queue_name=f"{QUEUE}-poison", connection="AzureWebJobsStorage")
def job_steps_poison(message: func.QueueMessage) -> None:
    """Mark the job failed whose message could not be handled, so that a person sees it; what nobody of ours wrote is dropped."""
    try:
        poison = read_message(message.get_body())
    except UnexpectedAnswer as error:
        logger.error("A message could not be read", extra={"action": "message-unreadable", "reason": str(error)})  # noqa: TRY400
        return
    logger.error("A message could not be handled", extra={"action": "message-poisoned", "job": poison.id, "kind": poison.kind})
    if poison.kind == "audience":
        product().runner.mark_failed(poison.id)
