"""How long to wait: pauses between attempts, between looks at LinkedIn, and until the next quota day.

Waiting is a queue delay, so nothing here sleeps. `dice` is a number from 0 up to 1 that spreads callers.
"""

from datetime import datetime, timedelta

LONGEST_PAUSE = 300.0
MOST_ATTEMPTS = 20
QUOTA_ATTEMPTS = 6
LONGEST_QUEUE_DELAY = 6 * 24 * 3600.0  # Azure queues hide a message for seven days at most


def pause(attempts: int, asked_for: float | None, dice: float) -> float | None:
    """Return seconds until the next attempt, or None to give up.

    What the remote API asks for wins over our doubling pause; jitter of a quarter spreads the callers.
    """
    if attempts >= MOST_ATTEMPTS:
        return None
    if asked_for is not None:
        return min(asked_for, LONGEST_QUEUE_DELAY) + dice
    return min(2.0**attempts, LONGEST_PAUSE) * (0.75 + dice / 2)


def until_quota_resets(now: datetime, dice: float) -> float:
    """Return seconds until 00:05 UTC, plus up to ten minutes so that jobs do not all return at once.

    LinkedIn resets its daily quotas at midnight UTC (Learn: Rate limits).
    """
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight - now).total_seconds() + 300 + 600 * dice


def next_look(looks: int, first: float, longest: float) -> float:
    """Return seconds until LinkedIn is asked about the audience again: each pause half as long again."""
    return min(first * 1.5 ** min(looks, 40), longest)
