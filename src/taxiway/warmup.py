"""Spark's classes, kept ready: what takes the JVM longest to start is reading and checking them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from taxiway.errors import MachineError
from taxiway.gateway import end
from taxiway.java import ensure_java
from taxiway.launch import collector, quoted
from taxiway.progress import Progress, Silent
from taxiway.settings import Settings, embedded_uri
from taxiway.spark import class_archive, spark_session

_MONTHS = ("green:2023-01", "green:2023-02")
_ROWS = 2_000
_PATIENCE = 300.0
"""Seconds that the JVM may take to write the archive; 5 to 20 were seen."""


@dataclass(frozen=True)
class ClassArchive:
    """Spark's classes as one file that the JVM maps into memory.

    Parameters
    ----------
    path : Path
    size : int
        Bytes.
    made : bool
        False where it was there already.
    """

    path: Path
    size: int
    made: bool


def warm_up(settings: Settings, progress: Progress | None = None, again: bool = False) -> ClassArchive:
    """Run the main job once on made-up trips, and keep the classes that it loaded.

    A JVM is started for it and ended with it, so a process should do this as its last act.

    Parameters
    ----------
    settings : Settings
        Only its Java and home are used: the job has a store of its own, which is removed.
    progress : Progress, optional
    again : bool
        Whether to replace an archive that is there.

    Returns
    -------
    ClassArchive

    Raises
    ------
    MachineError
        The environment's folder cannot be written, or the JVM wrote no archive.
    """
    watch = progress or Silent()
    path = class_archive(ensure_java(settings, watch))
    if path.is_file() and not again:
        return ClassArchive(path, path.stat().st_size, made=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".warmup-") as folder:
            made = Path(folder) / path.name
            watch.note("Spark is warmed up once, by a small job on made-up trips:")
            with _jvm(settings, made):
                _run_main_job(settings, Path(folder), watch)
                watch.begin("Writing the class archive")
            if not made.is_file():
                raise MachineError("The JVM wrote no class archive", f"See {settings.home / 'logs'}")
            made.replace(path)
            watch.end("Writing the class archive")
    except OSError as error:
        raise MachineError(
            f"{path.parent} cannot be written: {error.strerror}", "Do without, or ask its owner"
        ) from error
    return ClassArchive(path, path.stat().st_size, made=True)


@contextmanager
def _jvm(settings: Settings, archive: Path) -> Iterator[None]:
    """A session whose JVM writes down its classes when it ends, which it does with the block."""
    from pyspark import SparkContext

    options = (*collector(os.environ), "-XX:TieredStopAtLevel=1", f"-XX:ArchiveClassesAtExit={archive}")
    spark = spark_session(replace(settings, spark={"spark.driver.extraJavaOptions": quoted(options)}))
    gateway = SparkContext._gateway
    try:
        yield
    finally:
        spark.stop()
        if gateway is not None:
            end(gateway, _PATIENCE)


def _run_main_job(settings: Settings, folder: Path, progress: Progress) -> None:
    from taxiway.registry import promote, register
    from taxiway.scoring import score
    from taxiway.training import train
    from taxiway.trips.months import parse_months
    from taxiway.trips.synthetic import synthesize

    home = folder / "home"
    synthesize(parse_months(_MONTHS), _ROWS, folder / "trips")
    own = replace(settings, home=home, tracking_uri=embedded_uri(home), trips_source=str(folder / "trips"))
    train("tip", *_MONTHS, grid={"regParam": [0.01, 0.1]}, settings=own, progress=progress)
    register("tip", own)
    promote("tip", own)
    score("tip", _MONTHS[1], home / "predictions", settings=own, progress=progress)
