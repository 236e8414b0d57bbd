"""Addresses: which are servers, and how they are shown."""

from __future__ import annotations

import time

import pytest

from taxiway.reach import Watch, check_database, is_server, without_credentials
from taxiway.reach import _within as within


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://localhost:5000", "http://localhost:5000"),
        ("https://ana:s3cret@mlflow.example.org/path", "https://mlflow.example.org/path"),
        ("https://ana:p@ss@mlflow.example.org", "https://mlflow.example.org"),
        ("postgresql+psycopg://ana:s3cret@db:5432/mlflow?password=s3cret", "postgresql+psycopg://db:5432/mlflow"),
        ("cannot open http://u:p@h/x?token=1 today", "cannot open http://h/x today"),
        ("sqlite:////home/ana/mlflow.db", "sqlite:////home/ana/mlflow.db"),
    ],
)
def test_no_secret_of_an_address_is_shown(uri: str, shown: str) -> None:
    assert without_credentials(uri) == shown


def test_what_a_server_is() -> None:
    assert is_server("http://localhost:5000")
    assert is_server("HTTPS://mlflow.example.org")
    assert not is_server("sqlite:///mlflow.db")
    assert not is_server("databricks")


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "databricks", "file:///tmp/mlruns", "postgresql:///local"])
def test_what_is_no_database_on_a_host_is_not_asked(uri: str) -> None:
    check_database(uri)


def test_an_answer_an_error_and_neither() -> None:
    assert within(5, lambda: 7) == 7
    with pytest.raises(ValueError, match="invalid literal"):
        within(5, lambda: int("x"))
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        within(0.05, lambda: time.sleep(1))  # longer than anybody waits for it
    assert time.monotonic() - began < 0.9


def test_what_is_no_server_is_never_away() -> None:
    with Watch("sqlite:///mlflow.db", patience=0) as watch:
        watch.await_server()
