"""Work side by side in threads that an interrupt does not leave behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> list[Result]:
    """Call a function for every item, several at once.

    Parameters
    ----------
    function : callable
    items : iterable
    threads : int
        Calls at once, at least 1.

    Returns
    -------
    list
        Results in the order of the items.

    Raises
    ------
    BaseException
        The first error or interrupt. What runs then is awaited, what waits is not begun.
    """
    pool = ThreadPoolExecutor(threads)
    try:
        return list(pool.map(function, items))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def meanwhile(function: Callable[[], Result]) -> Iterator[Future[Result]]:
    """Call a function beside the block; both have ended when the block is left, however it is.

    Yields
    ------
    Future
        Its ``result()`` is the function's, or raises what the function raised.
    """
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(function)
