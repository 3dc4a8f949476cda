"""The one product of this process, made on first use, so that importing the app reads no setting and loads little."""

import os
import threading
from typing import TYPE_CHECKING

from shared.logs import set_up

if TYPE_CHECKING:
    from function_app.compose import Product

_lock = threading.Lock()
_made: "Product | None" = None


def product() -> "Product":
    """Return the product, made from the process's environment on the first call; it serves all threads.

    Raises ConfigurationWrong, naming everything that is missing or wrong, as long as it cannot be made.
    """
    global _made  # noqa: PLW0603  one per process is the point
    with _lock:
        if _made is None:
            from function_app.compose import build  # noqa: PLC0415  everything heavy comes with it

            set_up()
            _made = build(os.environ)
        return _made
