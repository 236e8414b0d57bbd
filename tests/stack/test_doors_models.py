"""A model in production whose files were tampered with: refused in the stack before anything in it runs."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from containers import WORK, Stack

from taxiway.versions import models

RAN = "/tmp/ran"  # noqa: S108  # in the container, where a model's code would leave its mark
CODE = f"open({RAN!r}, 'w').close()\n"
SCORE = ("taxiway", "score", "quick", "--months", "yellow:2018-03", "--out", f"{WORK}/never")


class Runs:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (CODE,)


class Folder:
    """The files of the model in production, as whoever may write to the artifact store reaches them."""

    def __init__(self, stack: Stack) -> None:
        version = next(found for found in models("quick", stack.settings()) if found.stage == "Production")
        location = stack.client().get_logged_model(version.model_id).artifact_location
        place = location.removeprefix("mlflow-artifacts:/").lstrip("/")
        self._address = f"{stack.mlflow_url}/api/2.0/mlflow-artifacts/artifacts/{place}"
        self._account = ("taxiway", stack.accounts["taxiway"])

    def read(self, name: str) -> bytes:
        return self._ask("GET", name).content

    def write(self, name: str, content: bytes) -> None:
        self._ask("PUT", name, content)

    def remove(self, name: str) -> None:
        self._ask("DELETE", name)

    def _ask(self, method: str, name: str, content: bytes | None = None) -> requests.Response:
        answer = requests.request(method, f"{self._address}/{name}", data=content, auth=self._account, timeout=60)
        answer.raise_for_status()
        return answer


@contextmanager
def tampered(folder: Folder, what: str) -> Iterator[str]:
    """The model with something in it that would run; as it was, after the block."""
    if what == "an unknown loader":
        before = folder.read("MLmodel")
        assert before.count(b"loader_module: mlflow.spark\n") == 1
        folder.write("evil.py", CODE.encode())
        folder.write("MLmodel", before.replace(b"loader_module: mlflow.spark\n", b"loader_module: evil\n"))
        yield "evil"
        folder.write("MLmodel", before)
        folder.remove("evil.py")
        return
    name, content = {"code": ("code/evil.py", CODE.encode()), "a pickle": ("model.pkl", pickle.dumps(Runs()))}[what]
    folder.write(name, content)
    yield name
    folder.remove(name)


@pytest.mark.parametrize("what", ["code", "a pickle", "an unknown loader"])
def test_a_model_that_carries_something_to_run_is_refused(
    stack: Stack, in_production: None, trips_in_work: str, what: str
) -> None:
    stack.exec("jupyterlab_spark", "rm", "-f", RAN)
    with tampered(Folder(stack), what) as name:
        refused = stack.exec("jupyterlab_spark", *SCORE, "--trips-source", trips_in_work, check=False)
    assert refused.returncode == 7, refused.stderr
    (line,) = (line for line in refused.stderr.splitlines() if line.startswith("taxiway: "))
    assert name in line
    assert stack.exec("jupyterlab_spark", "ls", RAN, f"{WORK}/never", check=False).stdout == ""
