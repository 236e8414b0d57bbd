"""The profile `cluster`: training and scoring on two workers, from JupyterLab, by the setting alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from containers import PYTHON, WORK, Completed, Stack, await_condition, docker

WORKERS = ("spark_worker_1", "spark_worker_2")
CLUSTER = ("spark_master", *WORKERS)
SETTINGS = ("TAXIWAY_SPARK=spark.master=spark://spark-master:7077", "TAXIWAY_TRIPS_SOURCE=s3a://trips")
MONTHS = ("--train", "yellow:2018-01..2018-03", "--holdout", "yellow:2018-04")
TRAIN = ("train", "tip", *MONTHS, "--grid", "regParam=0.001,0.01,0.1", "--json")
SCORE = ("score", "tip", "--months", "yellow:2018-05", "--json")
OUT = "s3a://trips/predictions"
PREDICTIONS = "predictions/colour=yellow/month=2018-05/part-0.parquet"

PUT = """
import glob, json, s3fs
files = glob.glob("/home/taxiway/work/trips/yellow_*.parquet")
s3fs.S3FileSystem().put(files, "trips/")
print(json.dumps(len(files)))
"""
SAME = f"""
import glob, json, pyarrow.parquet as pq, s3fs
(file,) = glob.glob("/home/taxiway/work/{PREDICTIONS.rpartition("/")[0]}/*.parquet")
there = pq.read_table(s3fs.S3FileSystem().open("trips/{PREDICTIONS}"))
here = pq.read_table(file, partitioning=None)
print(json.dumps([there.num_rows, there.equals(here)]))
"""
LIST = """
import json, s3fs
print(json.dumps(sorted(path.partition("/")[2] for path in s3fs.S3FileSystem().find("trips"))))
"""
DIGEST = f"""
import hashlib, json, s3fs
print(json.dumps(hashlib.sha256(s3fs.S3FileSystem().cat("trips/{PREDICTIONS}")).hexdigest()))
"""
STAGING = ".taxiway-staging-"
# What stands in a process's arguments and variables, which others on the machine can list.
SEEN = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'"


@pytest.fixture(scope="module")
def cluster(stack: Stack, trips_in_work: str) -> Iterator[Stack]:
    """The stack with its cluster, and with trips in the bucket."""
    stack.compose("--profile", "cluster", "up", "--detach", *CLUSTER, timeout=900)
    stack.wait_healthy(*CLUSTER)
    assert inside(stack, PUT) > 0
    yield stack
    stack.compose("--profile", "cluster", "rm", "--stop", "--force", *CLUSTER)


def inside(stack: Stack, script: str) -> Any:
    """What a script in JupyterLab's container prints, read as JSON."""
    return json.loads(stack.exec("jupyterlab_spark", PYTHON, "-", input=script).stdout)


def taxiway(stack: Stack, *words: str, timeout: float = 600, check: bool = True) -> Completed:
    """Run the command as in a terminal of JupyterLab, where the cluster has been named."""
    return stack.exec("jupyterlab_spark", "env", *SETTINGS, "taxiway", *words, timeout=timeout, check=check)


def running(stack: Stack) -> int:
    """Runs of the recipe that MLflow takes for running."""
    listed = stack.mlflow("experiments/search?max_results=100")["experiments"]
    ids = [item["experiment_id"] for item in listed if item["name"] == "tip"]
    if not ids:
        return 0
    found = stack.mlflow("runs/search", experiment_ids=ids, filter="attributes.status = 'RUNNING'", max_results=100)
    return len(found.get("runs", []))


def local(stack: Stack, trips: str, *words: str) -> Any:
    """What the command says in JupyterLab without a cluster, on the trips of its folder."""
    command = ("env", f"TAXIWAY_TRIPS_SOURCE={trips}", "taxiway", *words)
    return json.loads(stack.exec("jupyterlab_spark", *command, timeout=600).stdout)


def assert_same_metrics(one: Any, other: Any) -> None:
    assert one["rows"] == other["rows"]
    for mine, its in zip(one["runs"], other["runs"], strict=True):
        assert mine["metrics"]["holdout_roc_auc"] == pytest.approx(its["metrics"]["holdout_roc_auc"], abs=1e-9)


@pytest.fixture(scope="module")
def trained(cluster: Stack) -> Any:
    """What a training on the cluster said; its model is in production."""
    said = json.loads(taxiway(cluster, *TRAIN).stdout)
    taxiway(cluster, "register", "tip", "--run", said["best_run_id"])
    taxiway(cluster, "promote", "tip", "--to", "production")
    return said


def test_both_workers_work(cluster: Stack, trained: Any) -> None:
    for worker in WORKERS:
        done = cluster.exec(worker, "sh", "-c", "ls /scratch/work/app-*")
        assert done.stdout.strip(), worker


def test_a_training_on_the_cluster_says_what_one_in_jupyterlab_says(
    cluster: Stack, trained: Any, trips_in_work: str
) -> None:
    assert_same_metrics(trained, local(cluster, trips_in_work, *TRAIN))
    assert [name for name in inside(cluster, LIST) if name.startswith(".taxiway/")] == []


@pytest.fixture(scope="module")
def scored(cluster: Stack, trained: Any) -> Any:
    """What a scoring on the cluster said, from the bucket into the bucket."""
    return json.loads(taxiway(cluster, *SCORE, "--out", OUT).stdout)


def test_scoring_goes_from_bucket_to_bucket_and_gives_the_answers_given_in_jupyterlab(
    cluster: Stack, scored: Any, trips_in_work: str
) -> None:
    here = local(cluster, trips_in_work, *SCORE, "--out", f"{WORK}/predictions")

    assert scored["path"] == OUT
    assert scored["metrics"] == pytest.approx(here["metrics"], abs=1e-9)
    assert inside(cluster, SAME) == [scored["rows"], True]
    names = inside(cluster, LIST)
    assert [name for name in names if name.startswith("predictions/")] == [PREDICTIONS]
    assert [name for name in names if name.startswith(".taxiway/")] == []


def test_a_scoring_killed_in_the_middle_leaves_the_former_month(cluster: Stack, scored: Any) -> None:
    former = inside(cluster, DIGEST)
    scoring = cluster.begin("jupyterlab_spark", "env", *SETTINGS, "taxiway", *SCORE, "--out", OUT)
    await_condition(lambda: any(STAGING in name for name in inside(cluster, LIST)), "a scoring that writes", 120)
    assert scoring.poll() is None
    scoring.end()
    scoring.communicate()

    assert inside(cluster, DIGEST) == former


def test_months_are_read_where_they_lie(cluster: Stack, trips_in_work: str) -> None:
    (month,) = json.loads(taxiway(cluster, "fetch", "yellow:2018-01", "--json").stdout)

    assert month["files"] == ["s3a://trips/yellow_tripdata_2018-01.parquet"]
    (same,) = local(cluster, trips_in_work, "fetch", "yellow:2018-01", "--json")
    assert (month["rows"], month["digest"]) == (same["rows"], same["digest"])


def test_a_worker_killed_in_a_training_costs_time_and_nothing_else(cluster: Stack, trained: Any) -> None:
    training = cluster.begin("jupyterlab_spark", "env", *SETTINGS, "taxiway", *TRAIN)
    try:
        # The parent run is opened when the rows are ready, right before the first fit.
        await_condition(lambda: running(cluster) > 0, "a training that fits", 300)
        cluster.kill("spark_worker_1")
        out, err = training.communicate(timeout=600)
    finally:
        training.end()
        cluster.revive("spark_worker_1")

    assert training.returncode == 0, err
    assert_same_metrics(json.loads(out), trained)
    assert running(cluster) == 0


def test_workers_take_their_key_from_its_file_alone(cluster: Stack, trained: Any) -> None:
    key, secret = re.findall(r"^aws_\w+\s*=\s*(\S+)", cluster.secret("s3_trips"), re.MULTILINE)
    for service in ("jupyterlab_spark", *CLUSTER):
        seen = cluster.exec(service, "sh", "-c", SEEN, check=False).stdout
        assert "SPARK_HOME" in seen, service
        assert key not in seen, service
        assert secret not in seen, service
    logs = cluster.compose("--profile", "cluster", "logs", "--no-color", *CLUSTER).stdout
    assert secret not in logs


def test_workers_reach_the_trips_and_no_store_of_mlflow(cluster: Stack) -> None:
    places = ("s3:8333", "spark-master:7077", "db:5432", "mlflow_server:5000")
    reached = cluster.python("spark_worker_1", "reach.py", *places)
    assert [place for place in places if reached[place] == "open"] == ["s3:8333", "spark-master:7077"]


def test_the_cluster_is_locked_like_the_rest(cluster: Stack) -> None:
    for service in CLUSTER:
        found = cluster.inspect(service)
        host, user = found["HostConfig"], found["Config"]["User"]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert host["Memory"] > 0, service
        assert not host["PortBindings"], service
        assert user.partition(":")[0] not in ("", "0", "root"), service


def test_a_worker_that_its_master_does_not_count_on_is_not_healthy(cluster: Stack) -> None:
    docker("pause", cluster.container("spark_master"))
    try:
        done = cluster.exec("spark_worker_2", "/usr/local/bin/healthy", "spark-worker", timeout=30, check=False)
        assert done.returncode == 1
        assert "spark-master:8080" in done.stderr
    finally:
        docker("unpause", cluster.container("spark_master"))
    cluster.wait_healthy(*CLUSTER)


@pytest.mark.parametrize(
    ("code", "line", "words"),
    [
        (5, "No Spark master answers at spark://nobody:7077", (*TRAIN, "--spark", "master=spark://nobody:7077")),
        (2, "which the executors of", (*TRAIN, "--trips-source", "/home/taxiway/work/trips")),
        (2, "do not see", (*SCORE, "--out", "/scratch/predictions")),
        (5, "Spark cannot use s3a://nowhere", (*TRAIN, "--shared", "s3a://nowhere/x")),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    cluster: Stack, trained: Any, code: int, line: str, words: tuple[str, ...]
) -> None:
    done = taxiway(cluster, *words, timeout=60, check=False)

    assert done.returncode == code, done.stderr
    assert len([found for found in done.stderr.splitlines() if line in found]) == 1, done.stderr
