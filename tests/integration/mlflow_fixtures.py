"""A real embedded store and a real MLflow server, and sweeps in them that cost no Spark."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from mlflow import MlflowClient

from taxiway.settings import Settings, load_settings
from taxiway.store import connect, experiment_id
from taxiway.versions import owner_tags

PARAMETER = "regParam"


@dataclass(frozen=True)
class MadeSweep:
    """A sweep that a test has written, as training would."""

    parent: str
    runs: tuple[str, ...]
    best: str


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def database_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, made once: its migrations take more than a second."""
    home = tmp_path_factory.mktemp("template")
    connect(load_settings({"home": home}, {}, home))
    return home / "mlflow.db"


@pytest.fixture
def embedded(tmp_path: Path, database_template: Path) -> Settings:
    """Settings of an embedded store of its own."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(database_template, home / "mlflow.db")
    return load_settings({"home": home}, {}, home)


@pytest.fixture(scope="session")
def server_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow server that ends with the session."""
    folder = tmp_path_factory.mktemp("server")
    address = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", address.rpartition(":")[2]]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait(address, process, folder / "log")
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


@pytest.fixture
def server(tmp_path: Path, server_address: str) -> Settings:
    """Settings that name the server, with a home of their own."""
    home = tmp_path / "home"
    return load_settings({"home": home, "tracking_uri": server_address}, {}, tmp_path)


@pytest.fixture(params=["embedded", "server"])
def store(request: pytest.FixtureRequest) -> Settings:
    """Either store."""
    settings: Settings = request.getfixturevalue(request.param)
    return settings


@pytest.fixture
def recipe() -> str:
    """A recipe's name that no other test uses: the server is shared."""
    return f"tip-{uuid4().hex[:8]}"


def make_sweep(
    settings: Settings,
    recipe: str,
    scores: Mapping[str, float | None],
    *,
    status: str = "FINISHED",
    with_model: bool = True,
    direction: str = "max",
    tags: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    searched: Sequence[str] = (PARAMETER,),
) -> MadeSweep:
    """Write a sweep: one candidate for each value of the hyper-parameter, with its score."""
    client = connect(settings)
    experiment = experiment_id(client, settings, recipe)
    shared = {
        "taxiway.recipe": recipe,
        "taxiway.metric": "holdout_roc_auc",
        "taxiway.direction": direction,
        "taxiway.hyperparameters": ",".join(searched),
        **owner_tags(),
        **(tags or {}),
    }
    parent = client.create_run(experiment, tags={**shared, "taxiway.kind": "sweep"}, run_name=f"{recipe} sweep")
    parent_id = parent.info.run_id
    run_params = {"estimator": "logistic_regression", "holdout": "yellow:2018-10", **(params or {})}
    _log_params(client, parent_id, {"holdout": run_params["holdout"]})
    child_tags = {**shared, "taxiway.kind": "candidate", "mlflow.parentRunId": parent_id}
    runs = {}
    for value, score in scores.items():
        run = client.create_run(experiment, tags=child_tags, run_name=f"{PARAMETER}={value}")
        runs[run.info.run_id] = score
        _log_params(client, run.info.run_id, {**run_params, PARAMETER: value})
        if score is not None:
            client.log_metric(run.info.run_id, "holdout_roc_auc", score)
            client.log_metric(run.info.run_id, "train_roc_auc", score + 0.01)
        if with_model:
            log_model(client, settings, experiment, run.info.run_id)
        client.set_terminated(run.info.run_id, status)
    scored = {run: score for run, score in runs.items() if score is not None}
    best = (max if direction == "max" else min)(scored, key=lambda run: scored[run], default="")
    if best and status == "FINISHED":
        client.set_tag(parent_id, "taxiway.best_run_id", best)
    client.set_terminated(parent_id, status)
    return MadeSweep(parent_id, tuple(runs), best)


def log_model(client: MlflowClient, settings: Settings, experiment: str, run_id: str) -> str:
    """Log a small real model under a run, the way that training logs a large one."""
    import mlflow.sklearn
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model
    from sklearn.linear_model import LogisticRegression

    logged = client.create_logged_model(experiment, name="model", source_run_id=run_id)
    folder = settings.home / "tmp" / run_id
    mlflow.sklearn.save_model(
        LogisticRegression().fit([[0.0], [1.0]], [0, 1]),
        str(folder),
        mlflow_model=Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id),
        pip_requirements=[f"mlflow=={mlflow.__version__}"],
        serialization_format="skops",
    )
    client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    return str(logged.model_id)


def _log_params(client: MlflowClient, run_id: str, params: Mapping[str, str]) -> None:
    for key, value in params.items():
        client.log_param(run_id, key, value)


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(log.read_text())
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"no server after a minute: {log.read_text()}")
