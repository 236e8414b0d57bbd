"""How long a backup of the container stack takes, and a restore into an empty one.

A stack of its own is started (project ``taxiway-bench``), filled over MLflow's API with runs that have
parameters, metrics and a model in as many files as Spark writes, backed up, removed with all its volumes,
started again empty, and restored. Only ``taxiway stack backup`` and ``taxiway stack restore`` are timed.

Run it with ``python -m benchmarks backup [--runs 1000] [--bytes 1073741824] [--s3 minio]``. It needs Docker,
and builds the stack's images if there are none; filling the stack takes minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import TAXIWAY, clean_environment, fail, machine, run_timed, stop_cleanly, verdict

RUNS, BYTES, FILES = 1_000, 2**30, 60
LIMIT = 120.0
PROJECT = "taxiway-bench"
ROOT = Path(__file__).parents[1]
_AT_ONCE = 4
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
    """

    def __init__(self, folder: Path, around: Mapping[str, str], size: int) -> None:
        os.environ.update({name: value for name, value in around.items() if name.startswith(("TAXIWAY_", "STACK_"))})
        from taxiway.settings import load_settings
        from taxiway.store import connect

        self.client = connect(load_settings())
        self.experiment = self.client.create_experiment("bench")
        self.client.create_registered_model("bench")
        self.folder, self.size = folder, size

    def add(self, number: int) -> None:
        """One run with twenty parameters, twenty metrics of ten points, and a model."""
        from mlflow.entities import LoggedModelOutput, Metric, Param

        client, now = self.client, int(time.time() * 1000)
        run = client.create_run(self.experiment, run_name=f"run {number}").info.run_id
        points = [Metric(f"metric_{name}", step / 10, now, step) for name in range(20) for step in range(10)]
        client.log_batch(run, metrics=points, params=[Param(f"param_{name}", str(number)) for name in range(20)])
        model = client.create_logged_model(self.experiment, "model", source_run_id=run)
        client.log_model_artifacts(model.model_id, str(self._files(model.model_id, run)))
        client.finalize_logged_model(model.model_id, "READY")
        client.log_outputs(run, [LoggedModelOutput(model.model_id, 0)])
        client.set_terminated(run)
        if number % _VERSIONS_OF == 0:
            client.create_model_version("bench", f"models:/{model.model_id}", run_id=run, model_id=model.model_id)

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


def measure(runs: int, size: int, s3: str, folder: Path) -> tuple[float, float, dict[str, int]]:
    """Seconds of a backup and of a restore, and what was in it."""
    around = environment(folder, s3)
    file = folder / "backup.tar"
    try:
        stack(["up"], folder, around)
        filler = Filler(folder / "models", around, size // runs)
        began = time.perf_counter()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(filler.add, range(runs)))
        print(f"    filled in {time.perf_counter() - began:.0f} s", flush=True)
        backup = stack(["backup", str(file)], folder, around)
        check = [TAXIWAY, "stack", "restore", str(file), "--check", "--json"]
        counts = json.loads(subprocess.run(check, env=around, check=True, stdout=subprocess.PIPE).stdout)["counts"]
        stack(["clear", "--yes"], folder, around)
        stack(["up"], folder, around)
        restore = stack(["restore", str(file)], folder, around)
    finally:
        subprocess.run([TAXIWAY, "stack", "clear", "--yes"], cwd=folder, env=around, check=False, capture_output=True)
    if counts["runs"] != runs or counts["object_bytes"] < size * 0.99:
        fail(f"the backup holds {counts}, not what was logged", folder / "log")
    return backup, restore, counts


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Seconds of a backup of the stack and of a restore.")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--bytes", type=int, default=BYTES, help="of all artifacts together")
    parser.add_argument("--s3", choices=("seaweedfs", "minio"), default="seaweedfs")
    options = parser.parse_args(arguments)
    stop_cleanly()
    print(machine())
    with TemporaryDirectory(prefix="taxiway-bench-") as name:
        backup, restore, counts = measure(options.runs, options.bytes, options.s3, Path(name))
    print(f"  {counts['runs']:,} runs, {counts['objects']:,} objects, {counts['object_bytes'] / 2**30:.2f} GiB")
    reached = [verdict(f"taxiway stack {what}", seconds, LIMIT, " s", at_most=True)
               for what, seconds in (("backup", backup), ("restore", restore))]  # fmt: skip
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
