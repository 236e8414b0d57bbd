"""``mlflow server …``, which becomes the server instead of waiting beside it with 170 MB in its hands.

The command of MLflow 3.17 starts uvicorn as a second process once it has brought the database up to date. All that it
does after that is to pass signals on, and with job execution off there is no third process to look after.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import mlflow.server
from mlflow.cli import cli


def _become(command: Sequence[str], *, extra_env: Mapping[str, str], **_: Any) -> NoReturn:
    os.execvpe(command[0], command, {**os.environ, **extra_env})  # noqa: S606  # no shell is wanted: it would stay beside the server; MLflow built the command


mlflow.server._exec_cmd = _become
cli(prog_name="mlflow")
