"""The JVM that Spark runs in: started with an environment of its own, connected to, and why it did not start."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from taxiway import launch
from taxiway.errors import MachineError, TaxiwayError, UsageError
from taxiway.java import Java
from taxiway.java_faults import java_fault, java_words, judge, told
from taxiway.settings import Settings
from taxiway.sharing import on_cluster

LOG_FILE = "spark.log"

# What has to be known before the JVM starts. All else is handed over afterwards, so that no
# credential among the settings ever stands on a command line.
_AT_LAUNCH = ("spark.driver.", "spark.jars", "spark.master", "spark.log.")


def environment_of(settings: Settings, java: Java) -> dict[str, str]:
    """The variables that a JVM for Spark is started with."""
    environment = launch.launch_environment(
        os.environ, launch.spark_folder(), java.home, local=not on_cluster(settings), chosen=settings.spark
    )
    own = launch.quoted(launch.own_options(settings, environment))
    if own:
        environment["SPARK_SUBMIT_OPTS"] = f"{environment.get('SPARK_SUBMIT_OPTS', '')} {own}".strip()
    return environment


def start_gateway(configuration: Mapping[str, str], settings: Settings, environment: Mapping[str, str]) -> Any:
    """Start a JVM, and connect to it."""
    from py4j.protocol import Py4JError
    from pyspark import SparkConf
    from pyspark.errors import PySparkRuntimeError
    from pyspark.java_gateway import launch_gateway

    log = settings.home / "logs" / LOG_FILE
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        stream = log.open("ab")
    except OSError as error:
        raise MachineError(f"{settings.home} cannot be written: {error.strerror}", "Set TAXIWAY_HOME") from error
    before_launch = SparkConf(loadDefaults=False)
    before_launch.setAll([(key, value) for key, value in configuration.items() if key.startswith(_AT_LAUNCH)])
    with stream, launch.as_environment(environment):
        began = stream.seek(0, os.SEEK_END)
        try:
            # What the JVM writes belongs into a log, not between our progress bars.
            return launch_gateway(before_launch, {"stdout": stream, "stderr": stream})
        except (PySparkRuntimeError, Py4JError, OSError, ValueError, KeyError) as error:
            if "PYSPARK_GATEWAY_PORT" in environment:
                raise MachineError(
                    "PYSPARK_GATEWAY_PORT names a Spark that cannot be used", "Unset it, unless spark-submit has set it"
                ) from error
            raise _not_started(log, began, environment) from error


def end(gateway: Any, patience: float = 5.0) -> None:
    """End a JVM, so that the next session starts one of its own.

    Parameters
    ----------
    gateway : ClientServer
    patience : float
        Seconds that it may take.
    """
    from pyspark import SparkContext

    if gateway.proc is None:
        return  # somebody else's
    with suppress(Exception):  # what is left of it after a failure
        gateway.shutdown()
    # It ends when its standard input does.
    gateway.proc.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        gateway.proc.wait(patience)
    SparkContext._gateway = SparkContext._jvm = None


def _not_started(log: Path, began: int, environment: Mapping[str, str]) -> TaxiwayError:
    """Why Spark did not start, from what has been written since."""
    with log.open("rb") as file:
        file.seek(began)
        said = file.read().decode(errors="replace")
    if thrown := told(said):
        return judge(thrown) or _unexplained(f"{thrown[-1].kind.rpartition('.')[2]}: {thrown[-1].words}", log)
    if known := launch.refusal(said, environment):
        return known
    lines = [line.strip() for line in said.splitlines() if "rror" in line]
    return _unexplained(lines[0][:200].rstrip(".") if lines else "", log)


def not_begun(error: Exception, settings: Settings) -> TaxiwayError:
    """Why a JVM that has started made no session."""
    if fault := java_fault(error):
        return fault
    reason = java_words(error) or str(error).partition("\n")[0]
    return _unexplained(reason, settings.home / "logs" / LOG_FILE)


def _unexplained(reason: str, log: Path) -> TaxiwayError:
    if reason.startswith(("NumberFormatException", "IllegalArgumentException", "SparkIllegalArgumentException")):
        return UsageError(f"Spark does not take its settings ({reason})", "taxiway settings says where each comes from")
    return MachineError(f"Spark did not start{f' ({reason})' if reason else ''}", f"See {log}")
