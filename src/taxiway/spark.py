"""The Spark session: the one place where a JVM is started."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from taxiway.errors import MachineError
from taxiway.java import Java, ensure_java
from taxiway.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from taxiway.progress import Progress

LOG_FILE = "spark.log"
LEAST_MEMORY = 1_500_000_000
"""Bytes that must be free: Spark's own overhead and the smallest heap that trains a sweep."""

# With what the JVM needs beside its heap, 4 GiB in all: measured at seven million trips.
_MOST_HEAP = 3_200_000_000
_SHORT_JOB = 1_500_000
# What has to be known before the JVM starts. All else is handed over afterwards, so that no
# credential among the settings ever stands on a command line.
_AT_LAUNCH = ("spark.driver.", "spark.jars", "spark.master", "spark.log.")


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
        No usable Java, too little memory, or Spark does not start.
    """
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    java = ensure_java(settings, progress)
    return _start(session_configuration(settings, rows, class_archive(java)), settings, java)


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
        "spark.sql.warehouse.dir": str(settings.home / "spark" / "warehouse"),
        "spark.local.dir": str(settings.home / "spark" / "local"),
        "spark.driver.extraJavaOptions": " ".join(_java_options(rows, archive)),
    }
    if not settings.spark.get("spark.master", "local").startswith("local"):
        # Executors elsewhere must be able to call the driver back: leave the choice to Spark.
        del chosen["spark.driver.host"], chosen["spark.driver.bindAddress"]
    if "spark.driver.memory" not in settings.spark:
        chosen["spark.driver.memory"] = f"{_heap() // 1_000_000}m"
    return {**chosen, **settings.spark}


def _java_options(rows: int | None, archive: Path | None) -> Iterator[str]:
    yield from ("-XX:+UseParallelGC", "-XX:-UsePerfData")
    # Seen with Java 17 and Spark 4.3: with its quick compiler alone the JVM starts a small job twice
    # as fast, and takes 2.5 times as long for a fit on millions of rows.
    if rows is not None and rows < _SHORT_JOB:
        yield "-XX:TieredStopAtLevel=1"
    # One that does not fit this Java any more is passed over by the JVM, which says so in the log.
    if archive is not None and archive.is_file() and " " not in str(archive):
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


def _start(configuration: Mapping[str, str], settings: Settings, java: Java) -> SparkSession:
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkRuntimeError
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    os.environ["JAVA_HOME"] = str(java.home)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    log = settings.home / "logs" / LOG_FILE
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        stream = log.open("ab")
    except OSError as error:
        raise MachineError(f"{settings.home} cannot be written: {error.strerror}", "Set TAXIWAY_HOME") from error
    launch = SparkConf(loadDefaults=False)
    launch.setAll([(key, value) for key, value in configuration.items() if key.startswith(_AT_LAUNCH)])
    with stream:
        try:
            # What the JVM writes belongs into a log, not between our progress bars.
            gateway = launch_gateway(launch, {"stdout": stream, "stderr": stream})
        except (PySparkRuntimeError, OSError) as error:
            raise MachineError("Spark did not start", f"{_last_words(log)}See {log}") from error
    conf = SparkConf(loadDefaults=False, _jvm=gateway.jvm)
    conf.setAll(list(configuration.items()))
    return SparkSession(SparkContext(gateway=gateway, conf=conf))


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if "rror" in line or "nvalid" in line]
    return f"{lines[-1].strip()[:200]}. " if lines else ""
