"""Work that is done beside other work, because neither needs what the other finds out."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context


@contextmanager
def beside[T](work: Callable[[], T]) -> Iterator[Future[T]]:
    """Do some work in a thread of its own while the block runs, and wait for it at the block's end.

    The thread knows the caller's correlation id. What the work raises comes with the future's result.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="beside") as pool:
        yield pool.submit(copy_context().run, work)
