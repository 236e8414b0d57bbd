"""The Spark session: the one place where a JVM is kept running."""

from __future__ import annotations

import logging
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxiway import launch
from taxiway.errors import MachineError, Unreachable
from taxiway.gateway import end, environment_of, not_begun, start_gateway
from taxiway.java import Java, ensure_java
from taxiway.settings import Settings
from taxiway.sharing import S3_SCHEMES, check_spark_reaches, master, on_cluster, place_of
from taxiway.spark_paths import spark_path

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from taxiway.progress import Progress

LEAST_MEMORY = 1_500_000_000
"""Bytes that must be free: Spark's own overhead and the smallest heap that trains a sweep."""

# With what the JVM needs beside its heap, 4 GiB in all: measured at seven million trips.
_MOST_HEAP = 3_200_000_000
_SHORT_JOB = 1_500_000
# What only holds where driver and executors are one process.
_OF_ONE_PROCESS = (
    "spark.driver.host",
    "spark.driver.bindAddress",
    "spark.local.dir",
    "spark.sql.shuffle.partitions",
)
_PIECES = 32  # of the files that one command reads, at least; 4 MB each, at least
_MASTER_PATIENCE = 4.0
_EXECUTOR_PATIENCE = 60.0
"""Seconds that a cluster has to start a first executor."""


def spark_session(settings: Settings, progress: Progress | None = None, rows: int | None = None) -> SparkSession:
    """The running Spark session, or a new one.

    Parameters
    ----------
    settings : Settings
        ``settings.spark`` overrides every choice made here, the master included.
    progress : Progress, optional
        Told when Java has to be installed.
    rows : int, optional
        How many rows the job will read, where it is known: short jobs start otherwise than long
        ones.

    Returns
    -------
    SparkSession
        A session that is already active (in JupyterLab, say) is used as it is.

    Raises
    ------
    MachineError
        No usable Java, too little memory, or Spark does not start; a cluster gives no executor.
    Unreachable
        No master answers, or Spark does not get at the shared place or the trips.
    """
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    java = ensure_java(settings, progress)
    configuration = session_configuration(settings, rows, class_archive(java))
    if not on_cluster(settings):
        return _start(configuration, settings, java)
    return _start_on_cluster(configuration, settings, java)


def class_archive(java: Java) -> Path:
    """Where `taxiway warmup` keeps Spark's classes, ready to be mapped into the JVM's memory.

    It belongs to the installed Spark, not to the user's data, so it stands in the environment that
    Spark is installed in, and a new environment starts without one.
    """
    import pyspark

    return Path(sys.prefix) / "share" / "taxiway" / f"spark-{pyspark.__version__}-java-{java.version}.jsa"


def session_configuration(settings: Settings, rows: int | None = None, archive: Path | None = None) -> dict[str, str]:
    """Taxiway's own Spark configuration, overridden by the settings.

    Parameters
    ----------
    settings : Settings
    rows : int, optional
        How many rows the job will read.
    archive : Path, optional
        Used if it is there.

    Raises
    ------
    MachineError
        Too little memory is free.
    """
    chosen = {
        "spark.app.name": "taxiway",
        "spark.master": "local[*]",
        # Loopback alone: a laptop's name often resolves to an address that is not its own.
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        # Zone-less wall clocks stay as they are; instants (Azure Open Datasets) are read as UTC.
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(2 * (os.cpu_count() or 1)),
        # Files are cut into the same pieces on any number of cores: approximate medians depend on them.
        "spark.sql.files.minPartitionNum": str(_PIECES),
        "spark.sql.warehouse.dir": spark_path(settings.home / "spark" / "warehouse"),
        # Where a file has sums of its pages, damage to one is told from a value.
        "spark.hadoop.parquet.page.verify-checksum.enabled": "true",
        "spark.local.dir": str(settings.home / "spark" / "local"),
        "spark.driver.extraJavaOptions": launch.quoted(_java_options(rows, archive)),
        **dict(_s3_client(os.environ)),
    }
    if on_cluster(settings):
        chosen = {key: value for key, value in chosen.items() if key not in _OF_ONE_PROCESS}
        # Fewer renames, which a bucket has to copy for. What a job leaves behind when it fails is never
        # looked at here: it wrote under a name of its own.
        chosen["spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version"] = "2"
    if "spark.driver.memory" not in settings.spark:
        chosen["spark.driver.memory"] = os.environ.get("SPARK_DRIVER_MEMORY") or f"{_heap() // 1_000_000}m"
    return {**chosen, **settings.spark}


def _s3_client(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Tell Spark's S3 client what AWS's variables say, keys excepted: each process finds those where it runs.

    Without bounds it tries a server that is gone for minutes (seen in Hadoop 3.5).
    """
    client = "spark.hadoop.fs.s3a."
    yield f"{client}aws.credentials.provider", "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"
    yield f"{client}connection.establish.timeout", "5s"
    yield f"{client}attempts.maximum", "3"
    yield f"{client}retry.limit", "5"
    if endpoint := environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL"):
        yield f"{client}endpoint", endpoint
        yield f"{client}path.style.access", "true"
    if region := environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"):
        yield f"{client}endpoint.region", region


def _java_options(rows: int | None, archive: Path | None) -> Iterator[str]:
    yield from (*launch.collector(os.environ), "-XX:-UsePerfData")
    # Seen with Java 17 and Spark 4.3: with its quick compiler alone the JVM starts a small job twice
    # as fast, and takes 2.5 times as long for a fit on millions of rows.
    if rows is not None and rows < _SHORT_JOB:
        yield "-XX:TieredStopAtLevel=1"
    # One that does not fit this Java any more is passed over by the JVM, which says so in the log.
    if archive is not None and archive.is_file():
        yield f"-XX:SharedArchiveFile={archive}"


def available_memory() -> int:
    """Bytes that this process may still use: the machine's, or its container's if that is less."""
    import psutil

    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        free = min(free, limit - used)
    return free


def _heap() -> int:
    free = available_memory()
    if free < LEAST_MEMORY:
        raise MachineError(
            f"Only {free / 1e9:.1f} GB of memory are free; Spark needs {LEAST_MEMORY / 1e9:.1f} GB",
            "Close other programs, or set spark.driver.memory yourself with --spark",
        )
    return min(_MOST_HEAP, free // 2)


def _start(
    configuration: Mapping[str, str], settings: Settings, java: Java, own_files: Path | None = None
) -> SparkSession:
    from pyspark import SparkConf, SparkContext
    from pyspark.logger import PySparkLogger
    from pyspark.sql import SparkSession

    environment = environment_of(settings, java)
    if own_files is not None:
        environment.setdefault("SPARK_LOCAL_DIRS", str(own_files))
    gateway = start_gateway(configuration, settings, environment)
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        # They write an exception that is raised anyway to standard error, as JSON.
        PySparkLogger.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        if not launch.user_name():
            # Hadoop asks the system for the user's name and ends where there is none.
            users = gateway.jvm.org.apache.hadoop.security.UserGroupInformation
            users.setLoginUser(users.createRemoteUser(launch.nameless()))
        conf = SparkConf(loadDefaults=False, _jvm=gateway.jvm)
        conf.setAll(list(configuration.items()))
        return SparkSession(SparkContext(gateway=gateway, conf=conf))
    except Exception as error:
        fault = not_begun(error, settings)
        end(gateway)
        raise fault from error


def check_java_starts(settings: Settings, java: Java, patience: float) -> str:
    """Start Java as Spark would be started, without Spark.

    Parameters
    ----------
    settings : Settings
    java : Java
    patience : float
        Seconds that it may take; 0.1 were seen.

    Returns
    -------
    str
        The heap that it starts with, as Java is told it.

    Raises
    ------
    MachineError
        It does not start, or too little memory is free.
    UsageError
        It does not start with what a setting or a variable says.
    """
    configuration = session_configuration(settings, archive=class_archive(java))
    environment = environment_of(settings, java)
    heap = configuration["spark.driver.memory"]
    options = [environment.get("SPARK_SUBMIT_OPTS", ""), configuration["spark.driver.extraJavaOptions"]]
    command = [str(java.home / "bin" / "java"), f"-Xmx{heap}", *shlex.split(" ".join(options)), "-version"]
    try:
        answer = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"Java does not start within {patience:.0f} seconds", "Look what else runs") from error
    if answer.returncode != 0:
        said = answer.stdout + answer.stderr
        raise launch.refusal(said, environment) or MachineError(
            f"Java does not start (it leaves with {answer.returncode})", f"Try {command[0]} -version"
        )
    return heap


def _start_on_cluster(configuration: dict[str, str], settings: Settings, java: Java) -> SparkSession:
    """Start on a cluster, and know at once what Spark itself would wait for in silence."""
    place = master(settings)
    here = _address_towards(place)
    if here and "SPARK_LOCAL_IP" not in os.environ:
        configuration = {"spark.driver.host": here, **configuration}
    # The driver's own folder, as a variable: as a setting it would be the executors' as well.
    spark = _start(configuration, settings, java, settings.home / "spark" / "local")
    try:
        if configuration.get("spark.dynamicAllocation.enabled") != "true":
            _await_executor(spark, place)
        for address in {settings.shared, settings.source_location}:
            if address.partition("://")[0] in S3_SCHEMES:
                check_spark_reaches(f"{place_of(address)}/")
    except BaseException:
        spark.stop()
        raise
    return spark


def _address_towards(place: str) -> str:
    """This machine's address on the way to a standalone master, which executors can call back.

    Raises
    ------
    Unreachable
        No master answers: Spark would try for a minute.
    """
    if not place.startswith("spark://"):
        return ""
    reason = ""
    for name in place.removeprefix("spark://").split(","):
        host, _, port = name.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), _MASTER_PATIENCE) as line:
                return str(line.getsockname()[0])
        except (OSError, ValueError) as error:
            reason = f" ({error})"
    raise Unreachable(f"No Spark master answers at {place}{reason}", "Start the cluster, or correct spark.master")


def _await_executor(spark: SparkSession, place: str) -> None:
    scala: Any = spark.sparkContext._jsc.sc()
    deadline = time.monotonic() + _EXECUTOR_PATIENCE
    # The driver is one of those that are listed.
    while len(scala.statusTracker().getExecutorInfos()) < 2:
        if time.monotonic() > deadline:
            raise MachineError(
                f"The Spark cluster at {place} gave no executor within {_EXECUTOR_PATIENCE:.0f} seconds",
                "Look whether its workers run and are free, or ask for less with spark.executor.memory",
            )
        time.sleep(0.1)  # between two questions: PySpark has no event for an executor that has come
