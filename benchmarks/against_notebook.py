"""Taxiway against the notebook way, on the same trips and the same MLflow server.

Both sides go from the start of their process to ten logged fits, the best model in production and
10,000 trips scored, and take turns. What they read is prepared before the clock starts: CSV files
for the notebook way, a folder of the TLC's Parquet files for Taxiway.

Run it with ``python -m benchmarks against_notebook [--repeats 3] [--size 180000] [--trips FOLDER]``.
Without a folder of real trips (the 18 yellow months from 2018-01 to 2019-06) synthetic ones are made.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from benchmarks.measuring import (
    Run,
    clean_environment,
    fail,
    machine,
    middle,
    run_timed,
    stop_cleanly,
    trips_folder,
    verdict,
)

HERE = Path(__file__).resolve().parent
SCORED_MONTH = "yellow:2019-06"
SYNTHETIC_ROWS = 10_000
# Both see the same rows; a model of one side that is much better or worse has not done the same work.
AUC_TOLERANCE = 0.01


@dataclass(frozen=True)
class Size:
    """How many trips are learned from and judged on, and how much faster Taxiway should be."""

    rows: int
    train: str
    holdout: str
    holdout_from: str
    rows_a_month: int
    target: float


SIZES = (
    Size(180_000, "yellow:2018-01..2019-03", "yellow:2019-04..2019-06", "2019-04-01", 10_000, 10),
    Size(10_000, "yellow:2019-04", "yellow:2019-05", "2019-05-01", 5_000, 5),
)


@dataclass
class Side:
    """The runs of one way, and what the last one found."""

    name: str
    runs: list[Run] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)

    def add(self, run: Run, result: Path) -> None:
        self.runs.append(run)
        self.results.append(json.loads(result.read_text()))
        print(
            f"    {self.name:14}{run.seconds:8.1f} s   (load {run.load:.1f} before, {run.load_after:.1f} after)",
            flush=True,
        )

    @property
    def auc(self) -> float:
        return float(self.results[-1]["auc"])


def prepare(size: Size, source: Path | None, folder: Path) -> None:
    """Write the trips of a size for both sides: ``trips/`` for Taxiway, two CSV files for the notebook way."""
    import pandas as pd
    import pyarrow.parquet as pq

    from taxiway.trips.months import parse_months
    from taxiway.trips.synthetic import synthesize

    trips = folder / "trips"
    trips.mkdir(parents=True)
    months = list(parse_months(f"{size.train},{size.holdout}"))
    if source is None:
        source = folder / "made"
        synthesize(sorted({*months, *parse_months(SCORED_MONTH)}), SYNTHETIC_ROWS, source)
    frames = []
    for month in months:
        name = f"{month.colour}_tripdata_{month.label}.parquet"
        # Sliced, a table keeps the metadata that calls it synthetic.
        table = pq.read_table(source / name).slice(0, size.rows_a_month)
        pq.write_table(table, trips / name)
        frames.append(table.to_pandas())
    (aside,) = parse_months(SCORED_MONTH)
    name = f"{aside.colour}_tripdata_{aside.label}.parquet"
    table = pq.read_table(source / name)
    if not (trips / name).exists():
        pq.write_table(table, trips / name)
    table.to_pandas().to_csv(folder / "set_aside.csv", index=False)
    pd.concat(frames).to_csv(folder / "trips.csv", index=False)
    print(f"  learned from and judged on {sum(map(len, frames)):,} trips, scored {table.num_rows:,}", flush=True)


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Run a real MLflow server on loopback, with one worker, SQLite and a folder of artifacts."""
    folder.mkdir()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    host, port = address.split(":")
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", port, "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--allowed-hosts", address]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = clean_environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    log = folder / "server.log"
    with log.open("wb") as stream:
        # A session of its own, so that its worker ends with it.
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        await_health(f"http://{address}/health", process, log)
        yield f"http://{address}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def await_health(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    import requests

    end = monotonic() + 120
    while monotonic() < end:
        try:
            if requests.get(url, timeout=2).ok:
                return
        except requests.RequestException:
            pass
        try:
            process.wait(0.2)  # between two questions; and if it has ended, it will never answer
        except subprocess.TimeoutExpired:
            continue
        break
    fail("the MLflow server did not start", log)


def measure_notebook(side: Side, size: Size, folder: Path, uri: str, java: str) -> None:
    number = len(side.runs)
    mine = folder / f"notebook-{number}"
    mine.mkdir()
    command = [sys.executable, str(HERE / "notebook_way.py"), "--trips", str(folder / "trips.csv")]
    command += ["--set-aside", str(folder / "set_aside.csv"), "--holdout-from", size.holdout_from]
    command += ["--experiment", f"notebook-{size.rows}-{number}", "--out", str(mine / "predictions")]
    command += ["--result", str(mine / "result.json")]
    environment = clean_environment(
        MLFLOW_TRACKING_URI=uri, JAVA_HOME=java, MLFLOW_DFS_TMP=str(mine / "tmp"), PYSPARK_PYTHON=sys.executable
    )
    run = run_timed(command, mine, environment, mine / "log")
    side.add(run, mine / "result.json")


def measure_taxiway(side: Side, size: Size, folder: Path, uri: str, java: str) -> None:
    mine = folder / f"taxiway-{len(side.runs)}"
    mine.mkdir()
    command = [sys.executable, str(HERE / "taxiway_way.py"), "--home", str(mine / "home")]
    command += ["--trips", str(folder / "trips"), "--train", size.train, "--holdout", size.holdout]
    command += ["--score", SCORED_MONTH, "--out", str(mine / "predictions"), "--result", str(mine / "result.json")]
    environment = clean_environment(MLFLOW_TRACKING_URI=uri, JAVA_HOME=java)
    run = run_timed(command, mine, environment, mine / "log")
    side.add(run, mine / "result.json")


def measure(size: Size, source: Path | None, repeats: int, folder: Path, uri: str, java: str) -> bool:
    """Run both sides in turn and print the ratio of their medians; False when the target is missed."""
    kind = "synthetic" if source is None else "real"
    print(f"{size.rows:,} {kind} yellow trips, {repeats} runs of each side", flush=True)
    prepare(size, source, folder)
    notebook, taxiway = Side("notebook way"), Side("taxiway")
    for _ in range(repeats):
        measure_taxiway(taxiway, size, folder, uri, java)
        measure_notebook(notebook, size, folder, uri, java)
    print(f"  median: notebook way {middle(notebook.runs):.1f} s, taxiway {middle(taxiway.runs):.1f} s")
    print(f"  holdout ROC AUC of the best run: notebook way {notebook.auc:.4f}, taxiway {taxiway.auc:.4f}")
    if abs(notebook.auc - taxiway.auc) > AUC_TOLERANCE:
        sys.exit("the two sides did not do the same work")
    print_steps(taxiway)
    return verdict("faster by", middle(notebook.runs) / middle(taxiway.runs), size.target, " x")


def print_steps(side: Side) -> None:
    """Show where Taxiway's time went, median of each step; "=" marks a call, the steps before it are its own."""
    found: list[dict[str, float]] = [result["steps"] for result in side.results]
    print("  where Taxiway's time goes, median seconds:")
    for step in found[0]:
        print(f"    {step:28}{median(steps.get(step, 0.0) for steps in found):8.1f}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Taxiway against the notebook way, printed as a ratio.")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side; the median counts")
    parser.add_argument("--size", type=int, action="append", choices=[size.rows for size in SIZES])
    parser.add_argument("--trips", type=Path, help="folder of real trips; TAXIWAY_TEST_TRIPS by default")
    options = parser.parse_args(arguments)
    stop_cleanly()

    from taxiway import load_settings
    from taxiway.java import ensure_java

    source = trips_folder(options.trips)
    java = str(ensure_java(load_settings()).home)
    print(machine())
    reached = []
    with TemporaryDirectory(prefix="taxiway-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with mlflow_server(folder / "server") as uri:
            for size in SIZES:
                if not options.size or size.rows in options.size:
                    place = folder / str(size.rows)
                    reached.append(measure(size, source, options.repeats, place, uri, java))
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
