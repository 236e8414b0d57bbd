"""Container stacks to measure: each of its own name, secrets and ports, filled as training fills one."""

from __future__ import annotations

import os
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring import TAXIWAY, clean_environment, run_timed

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

    Upload = Callable[[LoggedModel, Path], object]

FILES = 60  # of a model, as Spark writes them
PROJECT, BENCH = "taxiway-bench", "bench"
ROOT = Path(__file__).parents[1]
_VERSIONS_OF = 10  # every tenth run's model becomes a version


def environment(folder: Path, s3: str) -> dict[str, str]:
    """A stack of its own: name, secrets, home and ports."""
    free = [socket.socket() for _ in range(3)]
    for listener in free:
        listener.bind(("127.0.0.1", 0))
    names = ("STACK_JUPYTER_PORT", "STACK_MLFLOW_PORT", "STACK_MINIO_CONSOLE_PORT")
    ports = {name: str(listener.getsockname()[1]) for name, listener in zip(names, free, strict=True)}
    for listener in free:
        listener.close()
    return clean_environment(
        COMPOSE_PROJECT_NAME=PROJECT,
        STACK_SECRETS=str(folder / "secrets"),
        STACK_S3=s3,
        TAXIWAY_STACK=str(ROOT),
        TAXIWAY_HOME=str(folder / "home"),
        TAXIWAY_PROFILE="stack",
        **ports,
    )


def stack(words: Sequence[str], folder: Path, around: Mapping[str, str]) -> float:
    """Run ``taxiway stack …`` to its end; the seconds it took."""
    run = run_timed([TAXIWAY, "stack", *words], folder, around, folder / "log")
    print(f"    taxiway stack {words[0]:<8} {run.seconds:7.1f} s   (load at the start {run.load:.1f})", flush=True)
    return run.seconds


def connected(around: Mapping[str, str]) -> MlflowClient:
    """A client of the store that an environment names."""
    os.environ.update({name: value for name, value in around.items() if name.startswith(("TAXIWAY_", "STACK_"))})
    from taxiway.settings import load_settings
    from taxiway.store import connect

    return connect(load_settings())


def make_bench(around: Mapping[str, str]) -> None:
    """Make the experiment and the registered model that are filled."""
    client = connected(around)
    client.create_experiment(BENCH)
    client.create_registered_model(BENCH)


@contextmanager
def straight_into_the_bucket(around: Mapping[str, str]) -> Iterator[Upload]:
    """A way for the files of models that takes a minute where MLflow's API takes fifteen: the one of a restore."""
    from taxiway.settings import load_settings
    from taxiway.stack.backup import OBJECTS
    from taxiway.stack.docker import find_docker
    from taxiway.stack.streams import bucket_job, objects

    connected(around)
    docker, lock = find_docker(load_settings()), threading.Lock()
    with (
        bucket_job(docker) as job,
        objects(docker, job, "import", what="fill the bucket", stdin=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdin, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):

        def upload(model: LoggedModel, folder: Path) -> None:
            place = model.artifact_location.removeprefix("mlflow-artifacts:/").lstrip("/")
            with lock:
                for file in filter(Path.is_file, folder.rglob("*")):
                    tar.add(file, f"{OBJECTS}{place}/{file.relative_to(folder)}")

        yield upload


class Filler:
    """Fills a stack with runs as training leaves them.

    Parameters
    ----------
    folder : Path
        For the files of the models that are on their way; one of each is random, the others are small.
    around : mapping of str to str
        The stack's environment.
    size : int
        Bytes of one run's files.
    upload : callable, optional
        How a model's files get into the stack; over MLflow's API by default.
    """

    def __init__(self, folder: Path, around: Mapping[str, str], size: int, upload: Upload | None = None) -> None:
        self.client = connected(around)
        experiment = self.client.get_experiment_by_name(BENCH)
        assert experiment is not None, "make_bench makes it"
        self.experiment = experiment.experiment_id
        self.folder, self.size = folder, size
        self.upload = upload or self._log

    def add(self, number: int) -> None:
        """One run with twenty parameters, twenty metrics of ten points, and a model."""
        from mlflow.entities import LoggedModelOutput, Metric, Param

        client, now = self.client, int(time.time() * 1000)
        run = client.create_run(self.experiment, run_name=f"run {number}").info.run_id
        points = [Metric(f"metric_{name}", step / 10, now, step) for name in range(20) for step in range(10)]
        client.log_batch(run, metrics=points, params=[Param(f"param_{name}", str(number)) for name in range(20)])
        model = client.create_logged_model(self.experiment, "model", source_run_id=run)
        self.upload(model, self._files(model.model_id, run))
        client.finalize_logged_model(model.model_id, "READY")
        client.log_outputs(run, [LoggedModelOutput(model.model_id, 0)])
        client.set_terminated(run)
        if number % _VERSIONS_OF == 0:
            client.create_model_version(BENCH, f"models:/{model.model_id}", run_id=run, model_id=model.model_id)

    def _log(self, model: LoggedModel, folder: Path) -> None:
        self.client.log_model_artifacts(model.model_id, str(folder))

    def _files(self, model_id: str, run: str) -> Path:
        folder = self.folder / str(threading.get_ident())
        small = (FILES - 2) // 2
        for place in range(small):
            stage = folder / "sparkml" / "stages" / f"{place}_stage"
            stage.mkdir(parents=True, exist_ok=True)
            (stage / "part-00000").write_bytes(b"m" * 400)
            (stage / "_SUCCESS").write_bytes(b"")
        (folder / "MLmodel").write_text(
            f"flavors: {{spark: {{model_data: sparkml}}}}\nmodel_id: {model_id}\nrun_id: {run}\n"
        )
        (folder / "sparkml" / "weights").write_bytes(os.urandom(max(1, self.size - small * 400)))
        return folder
