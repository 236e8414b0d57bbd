"""MLflow's variables: the values that Taxiway gives them where the user has not, and those that MLflow cannot read."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from types import MappingProxyType

from taxiway.errors import UsageError

# Set only where the user has not: the variables keep the meaning that MLflow gave them.
DEFAULTS: Mapping[str, str] = MappingProxyType(
    {
        # MLflow 3.17 tries a dead server for 4.5 minutes. Five retries wait 30 seconds in all,
        # which rides out the restart of a database and still ends.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
        # Standard output belongs to data, standard error to Taxiway's own progress.
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        # MLflow reports its use to its makers unless told not to.
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
)
_PREFIX = "MLFLOW_"
_FRACTIONS = ("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER",)
_MISREAD = re.compile(r"Failed to convert .* for (MLFLOW_\w+)|(MLFLOW_\w+) value must be one of")
_BOOLEANS = ("true", "false", "1", "0")


def prepare_environment() -> None:
    """Give MLflow its bounds and its silence, before it is imported for the first time.

    A variable that is empty counts as one that is not set, as it does for Taxiway's own: MLflow
    3.17 reads ``MLFLOW_LOGGING_LEVEL=`` as a level without a name, and an empty number as a fault.

    Raises
    ------
    UsageError
        MLflow cannot read one of them; all are reported together.
    """
    for name in empty(os.environ):
        del os.environ[name]
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    if found := faults(os.environ):
        raise UsageError("; ".join(found), "Correct it, or leave it out: Taxiway sets it then")


def empty(environment: Mapping[str, str]) -> list[str]:
    """MLflow's variables that hold nothing but blanks."""
    return [name for name, value in environment.items() if name.startswith(_PREFIX) and not value.strip()]


def faults(environment: Mapping[str, str]) -> list[str]:
    """What MLflow would stumble over while it is imported or used, in the variables that every command needs.

    Examples
    --------
    >>> faults({"MLFLOW_LOGGING_LEVEL": "loud", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"})
    ["MLFLOW_LOGGING_LEVEL is 'loud', not a level: DEBUG, INFO, WARNING, ERROR or CRITICAL"]
    """
    given = {name: environment[name] for name in DEFAULTS if name in environment}
    wanted = {name: _fault(name, value, DEFAULTS[name]) for name, value in given.items()}
    return [f"{name} is '{given[name]}', not {kind}" for name, kind in wanted.items() if kind]


def misread(error: BaseException) -> UsageError | None:
    """The variable that MLflow could not read, when an exception is about one; None otherwise."""
    found = _MISREAD.search(str(error)) if isinstance(error, ValueError) else None
    if found is None:
        return None
    name = found[1] or found[2]
    value = os.environ.get(name, "")
    return UsageError(f"{name} is '{value}', which MLflow cannot read", "Correct it, or leave it out")


def _fault(name: str, value: str, default: str) -> str:
    """What a value should have been, which the default shows the kind of; empty when it is."""
    if default.isdecimal():
        whole = value.strip().isdecimal() or (name in _FRACTIONS and re.fullmatch(r"\d*\.\d+", value.strip()))
        return "" if whole else "a number that is not negative"
    if default in _BOOLEANS:
        return "" if value.lower() in _BOOLEANS else "true or false"
    known = value.upper() in logging.getLevelNamesMapping()
    return "" if known else "a level: DEBUG, INFO, WARNING, ERROR or CRITICAL"
