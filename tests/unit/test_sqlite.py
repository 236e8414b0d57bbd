"""SQLite files: what each of its errors means, and which MLflow made the tables."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from taxiway.cli.faults import translate
from taxiway.errors import MachineError, Refused, TaxiwayError
from taxiway.sqlite import check_file, file_of, is_known, is_locked, is_news, locked, note_opened, schema_fault

KNOWN = "0584bdc529eb"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database with one table."""
    place = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(place)) as session, session:
        session.execute("CREATE TABLE alembic_version (version_num TEXT)")
    return place


def of_revision(file: Path, revision: str) -> None:
    with closing(sqlite3.connect(file)) as session, session:
        session.execute("INSERT INTO alembic_version VALUES (?)", [revision])


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("sqlite:////srv/my store/mlflow.db", "/srv/my store/mlflow.db"),
        ("sqlite:///mlflow.db", "mlflow.db"),
        ("sqlite+pysqlite:////srv/mlflow.db?timeout=5", "/srv/mlflow.db"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("http://127.0.0.1:5000", None),
    ],
)
def test_the_file_of_an_address(uri: str, file: str | None) -> None:
    assert file_of(uri) == (Path(file) if file else None)


def test_a_file_that_is_well(file: Path) -> None:
    check_file(file)
    of_revision(file, KNOWN)
    check_file(file)


def test_a_locked_file_is_waited_for_and_never_called_broken(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Refused, match=r"mlflow\.db is locked by another program.*Wait for it to end"):
            check_file(file, patience=0.1)
        holder.execute("COMMIT")
        check_file(file, patience=0.1)


def test_what_is_no_database_may_be_moved_away(file: Path) -> None:
    file.write_text("these are not the tables you are looking for")
    with pytest.raises(MachineError, match=r"not a usable SQLite file.*Move it away"):
        check_file(file)


def test_a_damaged_file_is_not_to_be_moved_away(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[100:200] = b"\xff" * 100
    file.write_bytes(content)
    with pytest.raises(MachineError, match=r"is damaged.*Restore it from a backup") as caught:
        check_file(file)
    assert "Move it away" not in str(caught.value)


def test_tables_of_a_newer_mlflow(file: Path) -> None:
    of_revision(file, "ffffffffffff")
    with pytest.raises(MachineError, match=r"made by a newer MLflow.*Upgrade Taxiway") as caught:
        check_file(file)
    assert "db upgrade" not in str(caught.value)


def test_revisions_that_this_mlflow_knows() -> None:
    assert is_known(KNOWN)
    assert not is_known("ffffffffffff")
    assert not is_known("05*")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (f"Detected out-of-date database schema (found version {KNOWN}, but expected x)", "older version.*db upgrade"),
        ("Detected out-of-date database schema (found version ffffffffffff, but expected x)", "newer MLflow"),
        ("Can't locate revision identified by 'ffffffffffff'", "newer MLflow"),
    ],
)
def test_what_mlflow_says_of_tables_that_are_not_its_own(said: str, words: str) -> None:
    found = schema_fault("postgresql+psycopg://db/mlflow", Exception(said))
    assert found is not None
    with pytest.raises(MachineError, match=words):
        raise found
    assert schema_fault("postgresql+psycopg://db/mlflow", Exception("no such host")) is None


def as_mlflow_throws_it(words: str) -> Exception:
    try:
        try:
            raise sqlite3.OperationalError(words)
        except sqlite3.OperationalError as cause:
            raise RuntimeError(f"(sqlite3.OperationalError) {words}") from cause
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    "words", ["database is locked", "database table is locked: runs", "database schema is locked: main"]
)
def test_a_lock_is_recognised_however_deep_it_lies(words: str, tmp_path: Path) -> None:
    error = as_mlflow_throws_it(words)
    assert is_locked(error)
    note_opened(f"sqlite:///{tmp_path}/mlflow.db")
    found = translate(error)
    assert type(found) is Refused
    assert f"{tmp_path}/mlflow.db is locked by another program" in found.message


def test_other_errors_are_no_locks() -> None:
    assert locked(as_mlflow_throws_it("disk I/O error")) is None
    assert not is_locked(ValueError("the database is locked in a safe"))
    assert type(translate(as_mlflow_throws_it("near SELECT: syntax error"))) is TaxiwayError


def test_mlflows_stack_trace_of_a_lock_is_not_shown() -> None:
    def record(message: str) -> logging.LogRecord:
        return logging.LogRecord("mlflow.store.db.utils", logging.ERROR, "", 1, "%s", (message,), None)

    assert not is_news(record("(sqlite3.OperationalError) database is locked"))
    assert is_news(record("(sqlite3.OperationalError) disk I/O error"))
