"""What breaks while Taxiway works: nothing that was acknowledged is lost, and nothing is left half done."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from containers import PYTHON, QUICK, SERVICES, Begun, Stack, await_condition, docker, inside, void
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import LoggedModelStatus

from taxiway.comparison import compare
from taxiway.versions import Version, models

PATIENCE = 60.0
"""Seconds within which a command that cannot go on has to say so."""

RECIPE = "quick"


@dataclass
class Command:
    """A `taxiway` command in JupyterLab's container, and how it ended."""

    process: Begun
    ended: float = 0.0
    said: str = ""
    printed: str = ""

    def __post_init__(self) -> None:
        self.watch = threading.Thread(target=self._read)
        self.watch.start()

    def _read(self) -> None:
        self.printed, self.said = self.process.communicate()
        self.ended = time.monotonic()

    def finish(self, fault: float) -> bool:
        """Wait for its end: True when it succeeded, False when it failed in time and in one clear line."""
        self.watch.join(300)
        assert not self.watch.is_alive(), "the command hangs"
        if self.process.returncode == 0:
            assert json.loads(self.printed)
            return True
        lines = [line for line in self.said.splitlines() if line.startswith("taxiway: ")]
        assert len(lines) == 1, self.said
        assert "Traceback" not in self.said
        assert self.ended - fault <= PATIENCE, f"{self.ended - fault:.0f} s: {lines[0]}"
        return False


@pytest.fixture(scope="module")
def acknowledged(stack: Stack, in_production: None) -> dict[str, str]:
    """The versions there are, whose bytes every fault has to leave alone."""
    found = digests(stack.client())
    assert found
    return found


@pytest.fixture
def begin(stack: Stack) -> Iterator[Callable[..., Command]]:
    """Start commands that end with the test, whatever becomes of it."""
    begun: list[Command] = []

    def start(*words: str) -> Command:
        begun.append(Command(stack.begin("jupyterlab_spark", "taxiway", *words, "--json")))
        return begun[-1]

    yield start
    for one in begun:
        one.process.end()
        one.watch.join()


@pytest.fixture
def training(begin: Callable[..., Command], trips_in_work: str, acknowledged: dict[str, str]) -> Callable[[], Command]:
    """Start a training."""
    return lambda: begin(*QUICK, "--trips-source", trips_in_work)


def experiment(stack: Stack) -> str:
    return str(stack.mlflow(f"experiments/get-by-name?experiment_name={RECIPE}")["experiment"]["experiment_id"])


def running(stack: Stack, kind: str) -> bool:
    """Whether a run of this kind is open: the sweep while candidates are fitted, a candidate while it is recorded."""
    condition = f"attributes.status = 'RUNNING' AND tags.`taxiway.kind` = '{kind}'"
    return bool(stack.mlflow("runs/search", experiment_ids=[experiment(stack)], filter=condition).get("runs"))


def await_run(stack: Stack, kind: str, training: Command) -> None:
    """Wait until a run of this kind is open."""

    def there() -> bool:
        assert training.process.poll() is None, training.said
        return running(stack, kind)

    await_condition(there, f"a {kind} is recorded", 180)


def assert_nothing_is_lost(stack: Stack, acknowledged: dict[str, str]) -> None:
    """No run open, no model empty, no version without its files, no upload half done; what was there is the same."""
    client, own = stack.client(), [experiment(stack)]
    assert client.search_runs(own, "attributes.status = 'RUNNING'") == []
    # Asked for READY ones, MLflow 3.17 compares a number with a text, which PostgreSQL refuses.
    for model in client.search_logged_models(own):
        files = client.list_logged_model_artifacts(model.model_id)
        assert model.status != LoggedModelStatus.READY or "MLmodel" in {file.path for file in files}, model
    assert acknowledged.items() <= digests(client).items()
    assert_no_upload_is_half_done(stack)


def assert_the_next_command_works(stack: Stack) -> None:
    assert compare(RECIPE, stack.settings()).rows


def digests(client: MlflowClient) -> dict[str, str]:
    """A digest of each version's files, every one of them read."""
    found = {}
    for version in client.search_model_versions(f"name = '{RECIPE}'"):
        with tempfile.TemporaryDirectory() as folder:
            download_artifacts(artifact_uri=f"models:/{RECIPE}/{version.version}", dst_path=folder)
            files = sorted(file for file in Path(folder).rglob("*") if file.is_file())
            assert len(files) > 3, version
            total = hashlib.sha256()
            for file in files:
                total.update(str(file.relative_to(folder)).encode() + file.read_bytes())
        found[version.version] = total.hexdigest()
    return found


def assert_no_upload_is_half_done(stack: Stack) -> None:
    words = ("run", "--rm", "-T", "--no-deps", "--entrypoint", PYTHON, "create_s3_buckets", "-")
    assert json.loads(stack.compose(*words, input=inside("uploads.py")).stdout) == []


@pytest.mark.s3
@pytest.mark.parametrize("service", ["s3", "mlflow_server", "db"])
def test_a_service_is_killed_while_a_training_records(
    stack: Stack,
    training: Callable[[], Command],
    acknowledged: dict[str, str],
    service: str,
) -> None:
    one = training()
    await_run(stack, "candidate", one)
    stack.kill(service)
    fault = time.monotonic()
    stack.revive(service)
    one.finish(fault)
    assert_the_next_command_works(stack)
    assert_nothing_is_lost(stack, acknowledged)


def test_the_database_is_down_for_fifteen_seconds(
    stack: Stack, training: Callable[[], Command], acknowledged: dict[str, str]
) -> None:
    one = training()
    await_run(stack, "sweep", one)
    stack.kill("db")
    fault = time.monotonic()
    back = threading.Timer(15, lambda: void(docker("start", stack.container("db"))))
    back.start()
    one.finish(fault)
    back.join()
    stack.wait_healthy("db", "mlflow_server")
    assert_the_next_command_works(stack)
    assert_nothing_is_lost(stack, acknowledged)


@pytest.mark.s3
@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_s3_is_down_until_the_training_gives_up(
    stack: Stack, training: Callable[[], Command], acknowledged: dict[str, str], fault: str
) -> None:
    one = training()
    await_run(stack, "candidate", one)
    docker(fault, stack.container("s3"))
    since = time.monotonic()
    try:
        one.finish(since)
    finally:
        docker({"kill": "start", "pause": "unpause"}[fault], stack.container("s3"))
    stack.wait_healthy("s3", "mlflow_server")
    assert_the_next_command_works(stack)
    assert_nothing_is_lost(stack, acknowledged)


def test_the_network_between_jupyterlab_and_mlflow_is_cut(
    stack: Stack, training: Callable[[], Command], acknowledged: dict[str, str]
) -> None:
    one = training()
    await_run(stack, "candidate", one)
    since = time.monotonic()
    mend = stack.cut("mlflow_server", "front")
    try:
        assert not one.finish(since)
    finally:
        mend()
    stack.wait_healthy("mlflow_server")
    # Nobody could tell MLflow of the end of the run: the next training does.
    assert training().finish(time.monotonic())
    assert_nothing_is_lost(stack, acknowledged)


def test_jupyterlab_is_killed_while_a_training_records(
    stack: Stack, training: Callable[[], Command], acknowledged: dict[str, str]
) -> None:
    one = training()
    await_run(stack, "candidate", one)
    stack.kill("jupyterlab_spark")
    one.watch.join(60)
    stack.revive("jupyterlab_spark")
    assert training().finish(time.monotonic())
    assert_nothing_is_lost(stack, acknowledged)


@pytest.mark.s3
@pytest.mark.parametrize("service", ["s3", "mlflow_server", "db"])
@pytest.mark.parametrize(
    ("command", "request_of"),
    [("register", "registered-models/create"), ("promote", "model-versions/transition-stage")],
)
def test_a_service_is_killed_while_a_version_is_made_or_moved(
    stack: Stack,
    begin: Callable[..., Command],
    acknowledged: dict[str, str],
    service: str,
    command: str,
    request_of: str,
) -> None:
    if command == "register":
        words = (command, RECIPE, "--run", unregistered(stack))
    else:
        words = (command, newest(stack), "--to", "production")
    with told(stack, request_of) as heard:
        one = begin(*words)
        assert heard.wait(60), one.said
        stack.kill(service)
    fault = time.monotonic()
    stack.revive(service)
    one.finish(fault)
    assert_nothing_is_lost(stack, acknowledged)
    # Whatever became of it: the same command again does it, and nothing is in between.
    stack.exec("jupyterlab_spark", "taxiway", *words)
    found = versions(stack)
    assert {version.disagreement for version in found} == {""}
    assert [version.stage for version in found].count("Production") == 1


def versions(stack: Stack) -> tuple[Version, ...]:
    return models(RECIPE, stack.settings())


def unregistered(stack: Stack) -> str:
    """A candidate that no version was made of."""
    made = {version.run_id for version in versions(stack)}
    condition = "attributes.status = 'FINISHED' AND tags.`taxiway.kind` = 'candidate'"
    runs = stack.client().search_runs([experiment(stack)], condition)
    return next(str(run.info.run_id) for run in runs if run.info.run_id not in made)


def newest(stack: Stack) -> str:
    """A version that is not in production."""
    return str(next(version for version in versions(stack) if version.stage != "Production"))


@contextmanager
def told(stack: Stack, word: str) -> Iterator[threading.Event]:
    """An event that is set when MLflow's log first names a request with this word in its path."""
    heard = threading.Event()
    command = ("docker", "logs", "--follow", "--tail", "0", stack.container("mlflow_server"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as log:

        def listen() -> None:
            assert log.stdout is not None
            for line in log.stdout:
                if word in line:
                    heard.set()

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            yield heard
        finally:
            log.kill()
            listener.join()


@pytest.mark.s3
@pytest.mark.parametrize("service", ["s3", "mlflow_server", "db"])
def test_a_service_is_killed_in_the_middle_of_an_upload(
    stack: Stack, acknowledged: dict[str, str], service: str
) -> None:
    name, half = f"{uuid4().hex}.bin", os.urandom(16 * 2**20)

    def body() -> Iterator[bytes]:
        yield half
        stack.kill(service)
        stack.revive(service)
        yield half

    folder = f"{stack.mlflow_url}/api/2.0/mlflow-artifacts/artifacts"
    account = ("taxiway", stack.accounts["taxiway"])
    place = f"{folder}/{experiment(stack)}/{name}"
    try:
        done = requests.put(place, data=body(), auth=account, timeout=120).ok
    except requests.ConnectionError:
        done = False
    # The server waits for its stores; only its own end is the end of a transfer.
    assert done == (service != "mlflow_server")
    found = requests.get(place, auth=account, timeout=120)
    assert (found.content == half + half) if done else (found.status_code == 404)
    assert_no_upload_is_half_done(stack)


def test_the_host_restarts_while_a_training_records(
    stack: Stack, training: Callable[[], Command], acknowledged: dict[str, str]
) -> None:
    one = training()
    await_run(stack, "candidate", one)
    stack.kill(*SERVICES)
    one.watch.join(60)
    stack.compose("down")
    stack.shell("start")
    stack.wait_healthy()
    assert training().finish(time.monotonic())
    assert_nothing_is_lost(stack, acknowledged)
