"""The container stack: how soon it is there, what it holds at rest, and what its proxy costs those who log models.

* from ``images/stack.sh start``, the images built and the volumes empty, until every service is healthy; beside
  ``mlflow server`` with its default settings on this machine, until it answers;
* memory of the containers when nobody uses them;
* ``mlflow.spark.log_model`` of a model that was really trained, over the proxy into S3, beside the embedded store;
* eight clients that log runs with models at once, beside one.

Run it with ``python -m benchmarks container_stack [--repeats 5] [--s3 minio]``. It needs Docker, and builds the
stack's images if there are none. The stack is one of its own (project ``taxiway-bench``).
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.measuring import TAXIWAY, clean_environment, fail, machine, run_timed, stop_cleanly, verdict
from benchmarks.stacks import FILES, PROJECT, ROOT, Filler, environment, make_bench, stack

CLIENTS, RECORDS = 8, 5
START, REST, WHOLE, SLOWER = 25.0, 450.0, 1024.0, 2.0
_SIZE = 100_000  # bytes of a run's model
_UNITS = {"B": 2**-20, "KiB": 2**-10, "MiB": 1.0, "GiB": 2.0**10}


def start(folder: Path, around: Mapping[str, str]) -> float:
    """Seconds until all services are healthy, from empty volumes."""
    stack(["up"], folder, around)  # builds
    stack(["clear", "--yes"], folder, around)
    run = run_timed(["sh", ROOT / "images" / "stack.sh", "start"], ROOT, around, folder / "log")
    return run.seconds


def default_server(folder: Path) -> float:
    """Seconds until ``mlflow server``, as it is without any option but its place, answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = f"sqlite:///{folder}/default.db"
    command = [TAXIWAY.with_name("mlflow"), "server", "--port", str(port), "--backend-store-uri", store]
    began = time.perf_counter()
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=clean_environment(), stdout=log, stderr=log)
        try:
            while not _answers(f"http://127.0.0.1:{port}/health"):
                if server.poll() is not None:
                    fail("mlflow server ended", folder / "log")
                time.sleep(0.05)  # between two questions: a server tells nobody when it begins to listen
            return time.perf_counter() - began
        finally:
            server.terminate()
            server.wait()


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def memory() -> dict[str, float]:
    """MiB that each container of the stack holds, by its service."""
    label = f"label=com.docker.compose.project={PROJECT}"
    names = ["docker", "ps", "--filter", label, "--format", "{{.Names}}"]
    found = subprocess.run(names, check=True, capture_output=True, text=True).stdout.split()
    command = ["docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *found]
    held = {}
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        name, used, *_ = line.split()
        number = used.rstrip("BKMGi")
        held[name.removeprefix(f"{PROJECT}-").rpartition("-")[0]] = float(number) * _UNITS[used[len(number) :]]
    return held


def trained(folder: Path, embedded: Mapping[str, str]) -> Path:
    """The files of a model that the recipe ``tip`` trained on synthetic trips."""
    for words in (
        ["synth", "green:2023-01..2023-02", "--rows", "5000"],
        ["train", "tip", "--train", "green:2023-01", "--holdout", "green:2023-02", "--grid", "regParam=0.1"],
    ):
        run_timed([TAXIWAY, *words], folder, embedded, folder / "log")
    return next(Path(embedded["TAXIWAY_HOME"]).rglob("MLmodel")).parent


def log_models(model: Path, repeats: int, folder: Path, around: Mapping[str, str]) -> list[float]:
    """Seconds of each ``mlflow.spark.log_model`` in a process of its own, the first one not counted."""
    command = [sys.executable, "-m", "benchmarks.container_stack", "--log", str(model), str(repeats + 1)]
    # MLflow makes folders where it is started.
    with (folder / "log").open("wb") as log:
        done = subprocess.run(
            command, cwd=folder, env=_importable(around), stdout=subprocess.PIPE, stderr=log, check=False
        )
    if done.returncode:
        fail("log_model failed", folder / "log")
    times: list[float] = json.loads(done.stdout.splitlines()[-1])
    return times[1:]


def _importable(around: Mapping[str, str]) -> dict[str, str]:
    """The environment in which Python finds this file from any folder."""
    return {**around, "PYTHONPATH": str(ROOT)}


def log_here(model: Path, times: int) -> None:
    """The process of `log_models`."""
    import mlflow

    from taxiway.settings import load_settings
    from taxiway.spark import spark_session
    from taxiway.store import connect

    settings = load_settings()
    connect(settings)
    spark_session(settings)
    loaded = mlflow.spark.load_model(str(model))
    mlflow.set_experiment("log_model")
    seconds = []
    for _ in range(times):
        with mlflow.start_run():
            began = time.perf_counter()
            mlflow.spark.log_model(loaded, "model", pip_requirements=["pyspark"])
            seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds))


def clients(number: int, folder: Path, around: Mapping[str, str]) -> float:
    """Seconds that some clients at once take for `RECORDS` runs each, all of them ready before the clock."""
    command = [sys.executable, "-m", "benchmarks.container_stack", "--client"]
    begun = [
        subprocess.Popen(
            [*command, str(folder / f"client-{each}")],
            cwd=folder,
            env=_importable(around),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for each in range(number)
    ]
    for client in begun:
        assert client.stdout is not None
        client.stdout.readline()
    began = time.perf_counter()
    for client in begun:
        assert client.stdin is not None
        client.stdin.write("go\n")
        client.stdin.flush()
    codes = [client.wait() for client in begun]
    seconds = time.perf_counter() - began
    if any(codes):
        sys.exit(f"{sum(map(bool, codes))} of {number} clients failed")
    return seconds


def client_here(folder: Path) -> None:
    """The process of one client."""
    filler = Filler(folder, os.environ, _SIZE)
    filler.add(1)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(RECORDS):
        filler.add(number * 10 + 1)


def measure(repeats: int, s3: str, folder: Path) -> list[bool]:
    """All figures of one stack."""
    around = environment(folder, s3)
    embedded = clean_environment(TAXIWAY_HOME=str(folder / "embedded"))
    embedded["TAXIWAY_TRIPS_SOURCE"] = str(folder / "embedded" / "synthetic")
    model = trained(folder, embedded)
    try:
        began = start(folder, around)
        held = memory()
        peer = default_server(folder)
        print(f"    mlflow server with its default settings on this machine answers after {peer:.1f} s")
        print("    " + ", ".join(f"{name} {amount:.0f} MiB" for name, amount in sorted(held.items())))
        reached = [
            verdict("start to all healthy", began, START, " s", at_most=True),
            verdict("MLflow at rest", held["mlflow_server"], REST, " MiB", at_most=True),
            verdict("the whole stack at rest", sum(held.values()), WHOLE, " MiB", at_most=True),
        ]
        here = log_models(model, repeats, folder, embedded)
        proxied = log_models(model, repeats, folder, around)
        print(f"    log_model: embedded {_spread(here)}, proxied {_spread(proxied)}")
        ratio = median(proxied) / median(here)
        reached.append(
            verdict("log_model through the proxy, beside the embedded store", ratio, SLOWER, " x", at_most=True)
        )
        make_bench(around)
        one, many = clients(1, folder, around), clients(CLIENTS, folder, around)
        print(
            f"    {RECORDS} runs with models of {FILES} files: one client {one:.1f} s, {CLIENTS} at once {many:.1f} s"
        )
        ratio = many / (one * CLIENTS)
        reached.append(
            verdict(f"{CLIENTS} clients at once, beside one client {CLIENTS} times", ratio, 1.0, " x", at_most=True)
        )
    finally:
        subprocess.run([TAXIWAY, "stack", "clear", "--yes"], cwd=folder, env=around, check=False, capture_output=True)
    return reached


def _spread(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.2f} s ({min(seconds):.2f}-{max(seconds):.2f})"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The container stack's start, memory, proxy and clients.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--s3", choices=("seaweedfs", "minio"), default="seaweedfs")
    parser.add_argument("--log", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--client", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.log:
        log_here(Path(options.log[0]), int(options.log[1]))
        return 0
    if options.client:
        client_here(options.client)
        return 0
    stop_cleanly()
    print(machine())
    with TemporaryDirectory(prefix="taxiway-bench-") as name:
        reached = measure(options.repeats, options.s3, Path(name))
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
