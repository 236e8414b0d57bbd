"""Whether the server's two stores answer: the database and the bucket of the artifacts."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping

import anyio
import anyio.to_thread
import psycopg

from taxiway_mlflow.bucket import bucket

# A health check waits five seconds for its answer and comes every few seconds.
_KEPT, _WITHIN = 2.0, 4.0
_CONNECT = 2

Question = Callable[[], object]


class Stores:
    """Questions to the stores, asked for real and side by side, at most once every few seconds.

    Parameters
    ----------
    questions : mapping of str to callable
        By the name of a store, what raises when it does not answer.
    """

    def __init__(self, questions: Mapping[str, Question]) -> None:
        self._questions = questions
        self._lock = asyncio.Lock()
        # Threads of its own: those of the server may all be waiting for the very store that is asked about.
        self._threads = anyio.CapacityLimiter(2 * len(questions))
        self._faults: list[str] = []
        self._asked = float("-inf")

    async def faults(self) -> list[str]:
        """One line for each store that does not answer."""
        async with self._lock:
            if time.monotonic() - self._asked > _KEPT:
                self._faults = await self._ask()
                self._asked = time.monotonic()
            return self._faults

    async def _ask(self) -> list[str]:
        found = dict.fromkeys(self._questions, f"no answer within {_WITHIN:.0f} seconds")

        async def ask(name: str, question: Question) -> None:
            try:
                # A name server can keep a thread for longer than any time limit of a client: leave it behind.
                await anyio.to_thread.run_sync(question, abandon_on_cancel=True, limiter=self._threads)
            except Exception as error:  # noqa: BLE001  # told as the store's fault, not lost: drivers raise many kinds
                found[name] = " ".join(str(error).split()) or type(error).__name__
            else:
                del found[name]

        with anyio.move_on_after(_WITHIN):
            async with anyio.create_task_group() as group:
                for name, question in self._questions.items():
                    group.start_soon(ask, name, question)
        return [f"the {name} does not answer: {why}" for name, why in found.items()]


def stores_of_this_server() -> Stores:
    """The database of the runs and the bucket of the artifacts."""
    return Stores({"database": _ask_database, "artifact store": lambda: bucket().probe()})


def _ask_database() -> None:
    # A connection of its own: MLflow's pool may be exhausted, and would be waited for.
    uri = os.environ["MLFLOW_BACKEND_STORE_URI"].replace("+psycopg", "")
    with psycopg.connect(uri, connect_timeout=_CONNECT) as connection:
        connection.execute("SELECT 1")
