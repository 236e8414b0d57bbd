"""MLflow's variables: empty ones, ours, and those that it cannot read."""

from __future__ import annotations

import os

import pytest

from taxiway.cli.faults import translate
from taxiway.errors import UsageError
from taxiway.variables import DEFAULTS, empty, faults, misread, prepare_environment


@pytest.mark.parametrize("name", sorted(DEFAULTS))
@pytest.mark.parametrize("value", ["", "  "])
def test_a_variable_without_a_value_counts_as_not_set(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    prepare_environment()
    assert os.environ[name] == DEFAULTS[name]


def test_so_do_those_that_taxiway_does_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "")
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE", "")
    prepare_environment()
    assert not {"MLFLOW_TRACKING_TOKEN", "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE"} & set(os.environ)
    assert empty({"MLFLOW_X": "", "OTHER": "", "MLFLOW_Y": "0"}) == ["MLFLOW_X"]


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "debug")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0.5")
    prepare_environment()
    assert os.environ["MLFLOW_LOGGING_LEVEL"] == "debug"
    assert os.environ["MLFLOW_HTTP_REQUEST_BACKOFF_JITTER"] == "0.5"


def test_all_that_mlflow_cannot_read_is_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "loud")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1.5")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "yes")
    with pytest.raises(UsageError, match="MLFLOW_LOGGING_LEVEL") as caught:
        prepare_environment()
    for words in ("a level: DEBUG", "'1.5', not a number", "'yes', not true or false"):
        assert words in caught.value.message
    assert caught.value.exit_code == 2


def test_the_defaults_are_well() -> None:
    assert faults(DEFAULTS) == []


@pytest.mark.parametrize(
    "said",
    [
        "Failed to convert 'many' for MLFLOW_SQLALCHEMYSTORE_POOL_SIZE: invalid literal",
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE value must be one of ['true', 'false', '1', '0'], but got x",
    ],
)
def test_one_that_mlflow_stumbles_over_later(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE", "many")
    found = translate(ValueError(said))
    assert type(found) is UsageError
    assert found.message.startswith("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE is 'many'")
    assert misread(ValueError("something else")) is None
