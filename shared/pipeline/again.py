"""Coming back: a message that cannot be handled now is sent again for later, a bounded number of times."""

from dataclasses import replace

from shared.domain.waiting import pause
from shared.errors import TryAgainLater
from shared.logs import get_logger
from shared.ports import Clock, Message, Queue

logger = get_logger(__name__)


def come_back(queue: Queue, clock: Clock, message: Message, error: TryAgainLater) -> None:
    """Send the same message again; after many attempts leave its row to upkeep, which looks for untaken commands."""
    wait = pause(message.attempt + 1, error.after_seconds, clock.dice())
    if wait is None:
        logger.error("A message was given up; upkeep finds its row", extra={"action": "message-given-up", "row": message.id})
        return
    queue.send(replace(message, attempt=message.attempt + 1), delay_seconds=wait)
    logger.info("A message comes back later", extra={"action": "message-delayed", "row": message.id, "reason": str(error)})
