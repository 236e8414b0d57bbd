"""What breaks while Taxiway works: nothing that was acknowledged is lost, and nothing is left half done."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from containers import PYTHON, Stack, await_condition, docker, inside, void

PATIENCE = 60.0
"""Seconds within which a command that cannot go on has to say so."""

TRAIN = ("--train", "yellow:2018-01", "--holdout", "yellow:2018-02", "--grid", "regParam=0.01,0.1")


@dataclass
class Training:
    """A `taxiway train` in JupyterLab's container, and how it ended."""

    process: subprocess.Popen[str]
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
        assert not self.watch.is_alive(), "the training hangs"
        if self.process.returncode == 0:
            assert json.loads(self.printed)["best_run_id"]
            return True
        lines = [line for line in self.said.splitlines() if line.startswith("taxiway: ")]
        assert len(lines) == 1, self.said
        assert "Traceback" not in self.said
        assert self.ended - fault <= PATIENCE, f"{self.ended - fault:.0f} s: {lines[0]}"
        return False


@pytest.fixture(scope="module")
def acknowledged(stack: Stack, trips_in_work: str) -> dict[str, str]:
    """A version in production, whose bytes every fault has to leave alone."""
    for words in (
        ("train", "tip", *TRAIN),
        ("register", "tip"),
        ("promote", "tip", "--to", "staging"),
        ("promote", "tip", "--to", "production"),
    ):
        stack.exec("jupyterlab_spark", "taxiway", *words, *source(words[0], trips_in_work))
    versions: dict[str, str] = stack.python("jupyterlab_spark", "audit.py")["versions"]
    assert versions
    return versions


@pytest.fixture
def training(stack: Stack, trips_in_work: str, acknowledged: dict[str, str]) -> Iterator[Callable[[], Training]]:
    """Start trainings that end with the test, whatever becomes of it."""
    begun: list[Training] = []

    def begin() -> Training:
        command = ("taxiway", "train", "tip", *TRAIN, "--json", *source("train", trips_in_work))
        begun.append(Training(stack.begin("jupyterlab_spark", *command)))
        return begun[-1]

    yield begin
    for one in begun:
        one.process.kill()
        one.watch.join()


def source(word: str, folder: str) -> tuple[str, ...]:
    return ("--trips-source", folder) if word == "train" else ()


def running(stack: Stack, kind: str) -> bool:
    """Whether a run of this kind is open: the sweep while candidates are fitted, a candidate while it is recorded."""
    experiment = stack.mlflow("experiments/get-by-name?experiment_name=tip")["experiment"]["experiment_id"]
    condition = f"attributes.status = 'RUNNING' AND tags.`taxiway.kind` = '{kind}'"
    return bool(stack.mlflow("runs/search", experiment_ids=[experiment], filter=condition).get("runs"))


def await_run(stack: Stack, kind: str, training: Training) -> None:
    """Wait until a run of this kind is open."""

    def there() -> bool:
        assert training.process.poll() is None, training.said
        return running(stack, kind)

    await_condition(there, f"a {kind} is recorded", 180)


def assert_nothing_is_lost(stack: Stack, acknowledged: dict[str, str]) -> None:
    """No run open, no model empty, no version without its files, no upload half done; and the next command works."""
    answer = stack.exec("jupyterlab_spark", "taxiway", "compare", "tip", "--json")
    assert json.loads(answer.stdout)
    found = stack.python("jupyterlab_spark", "audit.py")
    assert found["running"] == []
    assert [name for name, versions in found["models"].items() if not versions] == []
    assert "broken" not in found["versions"].values()
    assert acknowledged.items() <= found["versions"].items()
    words = ("run", "--rm", "-T", "--no-deps", "--entrypoint", PYTHON, "create_s3_buckets", "-")
    assert json.loads(stack.compose(*words, input=inside("uploads.py")).stdout) == []


@pytest.mark.s3
@pytest.mark.parametrize("service", ["s3", "mlflow_server", "db"])
def test_a_service_is_killed_while_a_training_records(
    stack: Stack,
    training: Callable[[], Training],
    acknowledged: dict[str, str],
    service: str,
) -> None:
    one = training()
    await_run(stack, "candidate", one)
    stack.kill(service)
    fault = time.monotonic()
    stack.revive(service)
    one.finish(fault)
    assert_nothing_is_lost(stack, acknowledged)


def test_the_database_is_down_for_fifteen_seconds(
    stack: Stack, training: Callable[[], Training], acknowledged: dict[str, str]
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
    assert_nothing_is_lost(stack, acknowledged)


@pytest.mark.s3
@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_s3_is_down_until_the_training_gives_up(
    stack: Stack, training: Callable[[], Training], acknowledged: dict[str, str], fault: str
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
    assert_nothing_is_lost(stack, acknowledged)


def test_the_network_between_jupyterlab_and_mlflow_is_cut(
    stack: Stack, training: Callable[[], Training], acknowledged: dict[str, str]
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
    stack: Stack, training: Callable[[], Training], acknowledged: dict[str, str]
) -> None:
    one = training()
    await_run(stack, "candidate", one)
    stack.kill("jupyterlab_spark")
    one.watch.join(60)
    stack.revive("jupyterlab_spark")
    assert training().finish(time.monotonic())
    assert_nothing_is_lost(stack, acknowledged)
