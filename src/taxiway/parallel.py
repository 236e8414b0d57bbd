"""Work side by side in threads that an interrupt does not leave behind."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    insist: Callable[[], None] = lambda: None,
) -> list[Result]:
    """Call a function for every item, several at once.

    Parameters
    ----------
    function : callable
    items : iterable
    threads : int
        Calls at once, at least 1.
    insist : callable, optional
        Asked about twice a second while calls are awaited. When it raises, nobody waits any longer: calls
        that hang on what will not come are left behind, and end with the process.

    Returns
    -------
    list
        Results in the order of the items.

    Raises
    ------
    BaseException
        The first error or interrupt. What runs then is awaited, what waits is not begun.
    """
    work = _Work(function, items)
    workers = [threading.Thread(target=work.do, daemon=True) for _ in range(min(threads, work.size))]
    for worker in workers:
        worker.start()
    given_up = False
    try:
        while not work.is_over(within=0.5):
            try:
                insist()
            except BaseException:
                given_up = True
                raise
    finally:
        work.drop()
        for worker in workers if not given_up else ():
            worker.join()
    return work.outcome()


class _Work(Generic[Item, Result]):
    """Calls that are waiting, their results, and the first error, shared by threads."""

    def __init__(self, function: Callable[[Item], Result], items: Iterable[Item]) -> None:
        self._function = function
        self._waiting = deque(enumerate(items))
        self.size = len(self._waiting)
        self._results: dict[int, Result] = {}
        self._errors: list[BaseException] = []
        self._changed = threading.Condition()

    def do(self) -> None:
        """Make one call after the other, until there is none or one failed."""
        while (call := self._next()) is not None:
            number, item = call
            try:
                result = self._function(item)
            except BaseException as error:  # noqa: BLE001  # kept, and raised again by `outcome` in the caller's thread
                with self._changed:
                    self._errors.append(error)
                    self._changed.notify_all()
            else:
                with self._changed:
                    self._results[number] = result
                    self._changed.notify_all()

    def is_over(self, within: float) -> bool:
        """Whether all calls are made, or one failed; waits some seconds for that."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._errors) or len(self._results) == self.size, within)

    def drop(self) -> None:
        """Begin no further call."""
        with self._changed:
            self._waiting.clear()

    def outcome(self) -> list[Result]:
        """The results in order; raises the first error."""
        if self._errors:
            raise self._errors[0]
        return [self._results[number] for number in range(self.size)]

    def _next(self) -> tuple[int, Item] | None:
        with self._changed:
            return None if self._errors or not self._waiting else self._waiting.popleft()


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
