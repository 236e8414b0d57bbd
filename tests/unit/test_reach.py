"""Addresses: which are servers, and how they are shown."""

from __future__ import annotations

import time

import pytest

from taxiway.errors import UsageError
from taxiway.reach import Watch, check_address, check_database, is_server, without_credentials
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


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "sqlite:////srv/mlflow.db", "postgresql:///local"])
def test_what_is_no_database_on_a_host_is_not_asked(uri: str) -> None:
    check_database(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost",
        "https://ana:s3cret@mlflow.example.org/path",
        "HTTP://[::1]:5000",
        "sqlite:///relative.db",
        "sqlite+pysqlite:////srv/my store/mlflow.db?timeout=30",
        "postgresql+psycopg://ana:s3cret@db/mlflow",
        "mysql+pymysql://db/mlflow",
        "mssql+pyodbc://db/mlflow",
    ],
)
def test_addresses_that_taxiway_supports(uri: str) -> None:
    check_address(uri)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("127.0.0.1:5000", r"no kind of store\. Write http://127\.0\.0\.1:5000$"),
        ("localhost", r"Write http://localhost$"),
        ("localhost:5000/mlflow", r"Write http://localhost:5000/mlflow$"),
        ("[::1]:5000", r"Write http://\[::1\]:5000$"),
        ("mlflow.example.org:443", r"Write http://mlflow\.example\.org:443$"),
        ("databricks", "workspace of Databricks"),
        ("databricks://profile", "workspace of Databricks"),
        ("databricks-uc", "workspace of Databricks"),
        ("file:/srv/mlruns", "folder of files.*sqlite:////"),
        ("file:///srv/mlruns", "folder of files"),
        ("./mlruns", "folder of files"),
        ("mlruns/experiment", "folder of files"),
        ("/srv/mlruns", "folder of files"),
        ("~/mlruns", "folder of files"),
        ("postgres://ana:s3cret@db/mlflow", r"postgresql\+psycopg://"),
        ("http://", "not an address of a server"),
        ("http:///path", "not an address of a server"),
        ("http://:5000", "not an address of a server"),
        ("http://localhost:port", "not an address of a server"),
        ("http://local host:5000", "not an address of a server"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("s3://bucket/mlruns", "no kind of MLflow store"),
        ("ftp://example.org", "no kind of MLflow store"),
        ("  ", "no kind of MLflow store"),
    ],
)
def test_other_addresses_are_told_what_to_be(uri: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        check_address(uri)
    assert "s3cret" not in str(caught.value)


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
