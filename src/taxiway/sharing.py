"""What driver and executors both see: this machine's disk in local mode, one shared place on a cluster."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from taxiway.errors import MachineError, TaxiwayError, Unreachable, UsageError
from taxiway.folders import expanded
from taxiway.java_faults import NO_CLIENT_REMEDY, java_fault
from taxiway.settings import Settings
from taxiway.spark_paths import spark_path

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel

S3_SCHEMES = ("s3", "s3a")
# What the clients of stores throw, told from what Spark's own jobs do.
_STORES = ("java.io.", "java.net.", "java.nio.", "org.apache.hadoop.", "software.amazon.")
_NO_CLIENT = ("ClassNotFoundException", "NoClassDefFoundError", "UnsupportedFileSystemException", "No FileSystem for")


def on_cluster(settings: Settings) -> bool:
    """Whether executors run elsewhere: as the running Spark says, else as the settings do."""
    return not master(settings).startswith("local")


def master(settings: Settings) -> str:
    """The Spark master in use, or the one that will be."""
    # The context and not the session, which is active in one thread alone. Nothing is imported to ask.
    context = getattr(sys.modules.get("pyspark"), "SparkContext", None)
    running = context._active_spark_context if context is not None else None
    return str(running.master) if running is not None else settings.spark.get("spark.master", "local[*]")


def place_of(text: str | Path) -> Path | str:
    """What a user means by a place for results: a folder, or an address that Spark understands.

    Parameters
    ----------
    text : str or Path
        ``predictions/``, ``file:///data/predictions`` or ``s3a://bucket/predictions``.

    Returns
    -------
    Path or str
        An absolute folder, or ``s3a://…`` without a slash at its end.

    Raises
    ------
    UsageError
        An address of another kind.

    Examples
    --------
    >>> place_of("s3://trips/predictions/")
    's3a://trips/predictions'
    """
    if isinstance(text, Path) or "://" not in text:
        return expanded(text)
    folder = _local_folder(text)
    if folder is not None:
        return folder
    parts = urlsplit(text)
    if parts.scheme not in S3_SCHEMES or not parts.netloc:
        raise UsageError(f"Nothing can be written to {text}", "Name a folder, or a bucket as s3a://bucket/folder")
    return f"s3a://{parts.netloc}{parts.path}".rstrip("/")


def output_location(settings: Settings, *names: str) -> Path | str:
    """Where results are written when nobody names a place.

    Parameters
    ----------
    settings : Settings
    *names : str
        Folders below it, ``"predictions", "tip"``.

    Returns
    -------
    Path or str
        A folder below the home; on a cluster an address below the setting ``shared``, which executors see.
    """
    if not on_cluster(settings) or not settings.shared:
        return settings.home.joinpath(*names)
    return place_of("/".join((settings.shared, *names)))


def is_seen(settings: Settings, folder: Path) -> bool:
    """Whether executors see a folder of this machine."""
    if not on_cluster(settings):
        return True
    shared = _local_folder(settings.shared)
    return shared is not None and folder.is_relative_to(shared)


def check_shared(settings: Settings) -> None:
    """Refuse to begin on a cluster that shares nothing with the driver.

    Raises
    ------
    UsageError
        Executors run elsewhere, and ``shared`` is not set.
    """
    if on_cluster(settings) and not settings.shared:
        raise UsageError(
            f"The executors of {master(settings)} do not see this machine's disk, and no place is set that they do see",
            "Set TAXIWAY_SHARED or --shared, for example to s3a://trips/.taxiway",
        )


def check_spark_reaches(address: str) -> None:
    """Ask the running Spark for an address, so that a missing client or key is known before the work begins.

    Raises
    ------
    MachineError
        Spark has no client for such addresses.
    Unreachable
        The store does not answer, or does not let us in.
    """
    from py4j.protocol import Py4JJavaError

    try:
        files, path = _files_at(address)
        files.exists(path)
    except Py4JJavaError as error:
        raise _fault(address, error) from error


def savable(model: PipelineModel, settings: Settings) -> PipelineModel:
    """A model as MLflow can save it, wherever its executors are.

    MLflow 3.17 has Spark write to a path without a scheme, and copies that to this machine's disk, which the
    executors of a cluster do not have. There, the model's own ``save`` goes by way of the shared place.
    """

    def save(path: str) -> None:
        if not on_cluster(settings):
            type(model).save(model, spark_path(path))
            return
        with _handover(settings) as place:
            type(model).save(model, place)
            files, shared = _files_at(place)
            # Raw: without the files of checksums that Hadoop keeps beside its own.
            files.copyToLocalFile(False, shared, _files_at(spark_path(path))[1], True)

    model.save = save  # type: ignore[method-assign]  # MLflow calls model.save; one instance differs, no class
    return model


@contextmanager
def copying_on_this_machine() -> Iterator[None]:
    """Let MLflow copy the models that it saves from this machine's disk while the block runs.

    MLflow 3.17 copies with the client of ``fs.defaultFS``, wherever that may be, and has no option for another one.
    It also asks for Spark Connect, and of a program that is read from standard input or a command line PySpark 4.3
    believes that it runs its own tests, and ends it with exit code 0: for as long it has the name of a file.
    """
    from mlflow.spark import _HadoopFileSystem
    from pyspark import SparkContext

    context: Any = SparkContext.getOrCreate()
    before = _HadoopFileSystem._filesystem
    _HadoopFileSystem._filesystem = context._jvm.org.apache.hadoop.fs.FileSystem.getLocal(
        context._jsc.hadoopConfiguration()
    )
    program: Any = sys.modules["__main__"]
    if nameless := not hasattr(program, "__file__"):
        program.__file__ = "<stdin>"
    try:
        yield
    finally:
        _HadoopFileSystem._filesystem = before
        if nameless:
            del program.__file__


def read_pipeline(folder: Path, settings: Settings) -> PipelineModel:
    """Load a Spark model from a folder of the driver; on a cluster by way of the shared place."""
    from pyspark.ml import PipelineModel

    if not on_cluster(settings):
        found: PipelineModel = PipelineModel.load(spark_path(folder, reading=True))
        return found
    with _handover(settings) as place:
        files, shared = _files_at(place)
        files.copyFromLocalFile(False, True, _files_at(spark_path(folder))[1], shared)
        model: PipelineModel = PipelineModel.load(place)
    return model


@contextmanager
def _handover(settings: Settings) -> Iterator[str]:
    """An address under the shared place that nobody else uses; what is there at the end is removed."""
    from py4j.protocol import Py4JError, Py4JJavaError

    folder = _local_folder(settings.shared)
    # A folder has to be named as one: without a scheme a cluster may look in a store of its own.
    shared = spark_path(folder) if folder else re.sub("^s3://", "s3a://", settings.shared)
    place = f"{shared}/handover-{uuid4().hex}"
    try:
        yield place
    except Py4JJavaError as error:
        if not str(error.java_exception.toString()).startswith(_STORES):
            raise
        raise _fault(settings.shared, error) from error
    finally:
        # Where Spark itself is gone, an error here would hide the one that ended it.
        with suppress(Py4JError, OSError):
            files, path = _files_at(place)
            files.delete(path, True)


def _local_folder(place: str) -> Path | None:
    """The folder that a place means; None when it is an address elsewhere, or nothing."""
    if place.startswith("file:"):
        return Path(unquote(urlsplit(place).path))
    return Path(place) if place and "://" not in place else None


def _files_at(address: str) -> tuple[Any, Any]:
    """Hadoop's client for an address, and the address as that takes it."""
    from pyspark import SparkContext

    context: Any = SparkContext.getOrCreate()
    path = context._jvm.org.apache.hadoop.fs.Path(address)
    return path.getFileSystem(context._jsc.hadoopConfiguration()), path


def _fault(address: str, error: Any) -> TaxiwayError:
    reason = str(error.java_exception.toString()).partition("\n")[0][:200]
    if any(sign in reason for sign in _NO_CLIENT):
        return MachineError(f"Spark has no client for {address.partition('://')[0]}:// addresses", NO_CLIENT_REMEDY)
    if isinstance(fault := java_fault(error), MachineError):
        return fault
    return Unreachable(
        f"Spark cannot use {address} ({reason})",
        "Check the address, AWS_ENDPOINT_URL_S3 and the key, also on the workers",
    )
