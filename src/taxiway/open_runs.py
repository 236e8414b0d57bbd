"""A run of MLflow that ends however its block is left: finished, failed or killed, and never running for ever."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from taxiway.errors import Unreachable
from taxiway.reach import check_server, is_server

if TYPE_CHECKING:
    from mlflow import MlflowClient

FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"


@contextmanager
def open_run(client: MlflowClient, experiment: str, **details: Any) -> Iterator[str]:
    """Create a run, and end it however the block is left."""
    # In a thread of its own, so that an interrupt in the middle finds a run that is known here.
    with ThreadPoolExecutor(1) as pool:
        creation = pool.submit(client.create_run, experiment, **details)
        try:
            run_id: str = creation.result().info.run_id
            yield run_id
        except BaseException as error:
            if creation.exception() is None and not isinstance(error, _ServerGone):
                _end(client, creation.result().info.run_id, error)
            raise
    client.set_terminated(run_id, FINISHED)


class _ServerGone(Unreachable):
    """MLflow was waited for, in vain."""


def _end(client: MlflowClient, run_id: str, error: BaseException) -> None:
    """End a run that an error ended, unless the error was that MLflow is gone: nobody waits for it twice."""
    try:
        if is_server(client.tracking_uri):
            check_server(client.tracking_uri)
    except Unreachable as gone:
        if not isinstance(error, Exception):
            return
        left = "the next training closes the runs that this one left open"
        raise _ServerGone(f"{gone.message}; {left}", gone.remedy) from error
    client.set_terminated(run_id, _status(error))


def _status(error: BaseException) -> str:
    return KILLED if isinstance(error, KeyboardInterrupt | SystemExit) else FAILED
