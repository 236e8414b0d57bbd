"""Training and scoring on a real Spark cluster that shares a bucket with the driver, and no disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import OperationalError, connect
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from object_stores import S3Server, free_ports, s3_server
from standalone import PATIENCE, Standalone, spark_s3_jars, standalone_cluster

from trip_files import green_trips, write_trips

BUCKET = "trips"
SHARED = f"s3a://{BUCKET}/.taxiway"
OUT = f"s3a://{BUCKET}/predictions"
PARTITION = "colour=green/month=2023-03"
TRAIN = ("train", "tip", "--train", "green:2023-01", "--holdout", "green:2023-02")
SCORE = ("score", "tip", "--months", "green:2023-03")
# Enough that a training lasts, few enough that the tests do not.
ROWS = 60_000

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Bench:
    """A cluster, its bucket of trips, the same trips in a folder, and the command that uses them."""

    cluster: Standalone
    s3: S3Server
    trips: Path
    environment: dict[str, str]
    command: str

    def variables(self, home: Path) -> dict[str, str]:
        return {**os.environ, **self.environment, "TAXIWAY_HOME": str(home)}

    def run(self, home: Path, *words: str, timeout: float = 400, **more: str) -> Done:
        """Run the command on the cluster, with variables of its own on top."""
        home.mkdir(parents=True, exist_ok=True)
        return subprocess.run(
            [self.command, *words],
            env={**self.variables(home), **more},
            cwd=home,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def here(self, home: Path, *words: str) -> Any:
        """Run the command in local mode, on the folder; what it prints, read as JSON."""
        local = {"TAXIWAY_SPARK": "spark.driver.memory=1g", "TAXIWAY_TRIPS_SOURCE": str(self.trips)}
        return document(self.run(home, *words, "--json", TAXIWAY_SHARED="", **local))

    def begin(self, home: Path, *words: str) -> subprocess.Popen[str]:
        home.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            [self.command, *words],
            env=self.variables(home),
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def names(self, prefix: str) -> list[str]:
        """The objects under a prefix, hidden ones as well."""
        found = self.s3.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return sorted(item["Key"] for item in found)

    def predictions(self) -> pa.Table:
        key = f"predictions/{PARTITION}/part-0.parquet"
        return pq.read_table(pa.BufferReader(self.s3.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()))


def document(done: Done) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, java_home: str, taxiway_command: str) -> Iterator[Bench]:
    jars = spark_s3_jars()
    trips = tmp_path_factory.mktemp("trips")
    # Pytest's own folders are for this user alone: here lies what the workers' user has to get to as well.
    open_to_all = Path(tempfile.mkdtemp(prefix="taxiway-test-"))
    open_to_all.chmod(0o755)
    try:
        with s3_server(tmp_path_factory.mktemp("s3")) as s3:
            s3.client().create_bucket(Bucket=BUCKET)
            for seed, month in enumerate(("2023-01", "2023-02", "2023-03")):
                file = write_trips(trips, f"green:{month}", green_trips(ROWS, month, seed))
                s3.client().upload_file(str(file), BUCKET, file.name)
            variables = _variables(open_to_all, s3)
            (open_to_all / "workers").mkdir()
            with standalone_cluster(open_to_all / "workers", java_home, variables) as cluster:
                spark = f"spark.master={cluster.master};spark.driver.memory=1g;spark.executor.memory=1g"
                environment = {
                    **variables,
                    "JAVA_HOME": java_home,
                    "TAXIWAY_SPARK": f"{spark};spark.jars={','.join(map(str, jars))}",
                    "TAXIWAY_TRIPS_SOURCE": f"s3a://{BUCKET}",
                    "TAXIWAY_SHARED": SHARED,
                }
                yield Bench(cluster, s3, trips, environment, taxiway_command)
    finally:
        shutil.rmtree(open_to_all)


def _variables(folder: Path, s3: S3Server) -> dict[str, str]:
    """What driver and workers know of S3: where it is, and in which file the key lies."""
    keys = folder / "s3_trips"
    keys.write_text(f"[default]\naws_access_key_id={s3.key}\naws_secret_access_key={s3.secret}\n", encoding="utf-8")
    keys.chmod(0o644)
    return {
        "AWS_SHARED_CREDENTIALS_FILE": str(keys),
        "AWS_CONFIG_FILE": str(folder / "no-config"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL_S3": s3.endpoint,
        "AWS_REGION": "us-east-1",
    }


@pytest.fixture(scope="module")
def trained(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A home whose model was trained on the cluster and is in production, and what the training said."""
    home = tmp_path_factory.mktemp("cluster-home")
    said = document(bench.run(home, *TRAIN, "--json"))
    for words in (("register", "tip"), ("promote", "tip", "--to", "production")):
        done = bench.run(home, *words)
        assert done.returncode == 0, done.stderr
    return home, said


def metrics_of(training: Any) -> list[dict[str, float]]:
    return [run["metrics"] for run in training["runs"]]


def test_a_training_on_the_cluster_says_what_one_here_says(
    bench: Bench, trained: tuple[Path, Any], tmp_path: Path
) -> None:
    _, there = trained
    here = bench.here(tmp_path / "home", *TRAIN)

    assert there["rows"] == here["rows"]
    assert there["rejected"] == here["rejected"]
    for one, other in zip(metrics_of(there), metrics_of(here), strict=True):
        assert {name: value for name, value in one.items() if name != "fit_seconds"} == pytest.approx(
            {name: value for name, value in other.items() if name != "fit_seconds"}, abs=1e-9
        )
    assert bench.names(".taxiway/") == []


def test_scoring_on_the_cluster_gives_the_answers_given_here(
    bench: Bench, trained: tuple[Path, Any], tmp_path: Path
) -> None:
    home, _ = trained

    there = document(bench.run(home, *SCORE, "--out", OUT, "--json"))
    here = bench.here(home, *SCORE, "--out", str(tmp_path / "out"))

    assert there["path"] == OUT
    assert there["metrics"] == pytest.approx(here["metrics"], abs=1e-9)
    assert bench.names("predictions/") == [f"predictions/{PARTITION}/part-0.parquet"]
    (file,) = (tmp_path / "out" / PARTITION).glob("*.parquet")
    assert bench.predictions().equals(pq.read_table(file, partitioning=None))
    assert bench.names(".taxiway/") == []


def test_months_are_read_where_they_lie(bench: Bench, tmp_path: Path) -> None:
    (month,) = document(bench.run(tmp_path / "home", "fetch", "green:2023-01", "--json"))

    assert month["files"] == [f"s3a://{BUCKET}/green_tripdata_2023-01.parquet"]
    assert month["rows"] == ROWS
    assert month["digest"] == bench.here(tmp_path / "other", "fetch", "green:2023-01")[0]["digest"]
    assert not (tmp_path / "home" / "trips").exists()


def test_a_worker_killed_in_a_training_costs_time_and_nothing_else(
    bench: Bench, trained: tuple[Path, Any], tmp_path: Path
) -> None:
    _, undisturbed = trained
    training = bench.begin(tmp_path / "home", *TRAIN, "--json")
    try:
        # The parent run is opened when the rows are ready, right before the first fit.
        await_condition(lambda: runs(tmp_path / "home", "RUNNING") > 0, training)
        assert bench.cluster.executors() == 2
        bench.cluster.kill("worker-1")
        out, err = training.communicate(timeout=400)
    finally:
        training.kill()
        training.wait()
        bench.cluster.start_worker("worker-1") if "worker-1" not in bench.cluster.processes else None

    said = document(Done(training.args, training.returncode, out, err))
    assert said["rows"] == undisturbed["rows"]
    for one, other in zip(metrics_of(said), metrics_of(undisturbed), strict=True):
        assert one["holdout_roc_auc"] == pytest.approx(other["holdout_roc_auc"], abs=1e-9)
    assert runs(tmp_path / "home", "RUNNING") == 0
    assert runs(tmp_path / "home", "FINISHED") == len(said["runs"]) + 1
    assert bench.names(".taxiway/") == []


def test_a_scoring_killed_in_the_middle_leaves_the_former_month(bench: Bench, trained: tuple[Path, Any]) -> None:
    home, _ = trained
    document(bench.run(home, *SCORE, "--out", OUT, "--json"))
    former = bench.predictions()
    scoring = bench.begin(home, *SCORE, "--out", OUT, "--json")
    try:
        await_condition(lambda: any(".taxiway-staging-" in name for name in bench.names("predictions/")), scoring)
        scoring.send_signal(signal.SIGKILL)
        scoring.communicate(timeout=60)
    finally:
        scoring.kill()

    assert f"predictions/{PARTITION}/part-0.parquet" in bench.names("predictions/")
    assert bench.predictions().equals(former)

    document(bench.run(home, *SCORE, "--out", OUT, "--json"))
    assert bench.names("predictions/") == [f"predictions/{PARTITION}/part-0.parquet"]


def test_what_is_missing_is_said_in_one_line(bench: Bench, tmp_path: Path) -> None:
    (nobody,) = free_ports(1)
    refusals: list[tuple[int, str, Callable[[], Done]]] = [
        (2, "no place is set that they do see", lambda: bench.run(tmp_path, *TRAIN, TAXIWAY_SHARED="")),
        (2, "which the executors of", lambda: bench.run(tmp_path, *TRAIN, "--trips-source", str(bench.trips))),
        (2, "do not see", lambda: bench.run(tmp_path, *SCORE, "--out", str(tmp_path / "out"))),
        (
            5,
            "No Spark master answers",
            lambda: bench.run(tmp_path, *TRAIN, "--spark", f"master=spark://127.0.0.1:{nobody}"),
        ),
        (5, "Spark cannot use s3a://nowhere", lambda: bench.run(tmp_path, *TRAIN, "--shared", "s3a://nowhere/x")),
        (6, "Spark has no client for s3a://", lambda: bench.run(tmp_path, *TRAIN, "--spark", "spark.jars=")),
    ]
    for code, words, ask in refusals:
        done = ask()
        lines = [line for line in done.stderr.splitlines() if words in line]
        assert done.returncode == code, done.stderr
        assert len(lines) == 1, done.stderr


def runs(home: Path, status: str) -> int:
    """Runs in the embedded store that have a status; none while it is being made."""
    try:
        with closing(connect(f"file:{home / 'mlflow.db'}?mode=ro", uri=True)) as store:
            return int(store.execute("SELECT count(*) FROM runs WHERE status = ?", (status,)).fetchone()[0])
    except OperationalError:
        return 0


def await_condition(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something holds; fail when the command ends first or it takes too long."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)  # between two questions: the command tells nobody how far it is
