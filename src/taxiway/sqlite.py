"""A SQLite file that MLflow keeps its tables in: locked by whom, of which MLflow, or no database at all.

Asked before MLflow is, which tries a file that it cannot read for 100 seconds, and says less.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxiway.errors import MachineError, Refused, TaxiwayError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

PATIENCE = 30.0
"""Seconds to wait for a file that somebody else has locked, also in the middle of a command."""

_LOCKED = re.compile(r"database (?:table |schema )?is locked")
# SQLite waits within its library, where no Ctrl-C reaches it: for a moment only, and then again.
_AT_ONCE = 0.5
_MOST_NAMED, _LONGEST = 3, 40
_opened: list[Path] = []
_AFTER_THE_LOCK = "Wait for it to end its work, or stop it; then run the command again"


def file_of(uri: str) -> Path | None:
    """The file that an address of a SQLite store names; None for any other address.

    Examples
    --------
    >>> print(file_of("sqlite:////srv/mlflow.db"), file_of("http://127.0.0.1:5000"))
    /srv/mlflow.db None
    """
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", uri, re.IGNORECASE)
    return Path(match[1]) if match and match[1] != ":memory:" else None


def check_file(file: Path, patience: float = PATIENCE) -> None:
    """Open a SQLite file and read from it, waiting for whoever has locked it.

    Raises
    ------
    Refused
        Another program has had it locked for as long as one should wait.
    MachineError
        It cannot be read and written, is no database, or was made by a newer MLflow.
    """
    if not os.access(file, os.R_OK | os.W_OK):
        raise MachineError(f"{file} cannot be read and written", "Change its permissions, or set TAXIWAY_HOME")
    end = time.monotonic() + patience
    while True:
        try:
            revisions = _revisions(file, min(_AT_ONCE, patience))
            break
        except sqlite3.Error as error:
            if not (is_locked(error) and time.monotonic() < end):
                raise fault(file, error) from error
    if newer := [revision for revision in revisions if not is_known(revision)]:
        raise made_by_newer(str(file), newer[0])


def _revisions(file: Path, patience: float) -> list[str]:
    with closing(sqlite3.connect(file, timeout=patience)) as session:
        tables = {name for (name,) in session.execute("SELECT name FROM sqlite_master")}
        if "alembic_version" not in tables:
            return []
        return [revision for (revision,) in session.execute("SELECT version_num FROM alembic_version")]


def fault(file: Path, error: sqlite3.Error) -> TaxiwayError:
    """What SQLite says of a file, in our words. Only what is no database may be moved away."""
    code = (error.sqlite_errorcode if hasattr(error, "sqlite_errorcode") else 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or _LOCKED.search(str(error)):
        return locked_fault(file)
    if code == sqlite3.SQLITE_NOTADB:
        return MachineError(
            f"{file} is not a usable SQLite file ({error})", "Move it away; a new one is made at the next start"
        )
    if code == sqlite3.SQLITE_CORRUPT:
        return MachineError(
            f"{file} is damaged ({error})", "Restore it from a backup; sqlite3's .recover saves what can be read"
        )
    return MachineError(f"{file} cannot be used ({error})", "Look at its disk, and at the permissions of its folder")


def note_opened(uri: str) -> None:
    """Remember the file of a store that is opened, if it has one: MLflow's own errors do not name it."""
    if (file := file_of(uri)) is not None:
        _opened[:] = [file]


def wait_in_sessions(engine: Engine) -> None:
    """Let MLflow's own sessions on a file wait as long as everything else does.

    MLflow 3.17 begins each with an order to wait 20 seconds, whatever the address or a variable says.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Of one of MLflow's stores.
    """
    from sqlalchemy import event

    if not event.contains(engine, "before_cursor_execute", _wait_longer):
        event.listen(engine, "before_cursor_execute", _wait_longer, retval=True)


def _wait_longer(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> tuple[str, Any]:
    if statement.startswith("PRAGMA busy_timeout"):
        statement = f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}"
    return statement, parameters


def locked(error: BaseException) -> TaxiwayError | None:
    """What MLflow threw because another program has locked the file that was opened last; None for all else."""
    return locked_fault(_opened[0]) if _opened and is_locked(error) else None


def locked_fault(file: Path) -> Refused:
    """That another program has a file locked, and which programs have it open."""
    users = users_of(file)
    who = f" ({users})" if users else ""
    return Refused(f"{file} is locked by another program{who}", _AFTER_THE_LOCK)


def is_locked(error: BaseException) -> bool:
    """Whether an exception, or what it came from, is SQLite's word that its file is locked."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        # A server that says so of a file of its own throws something else.
        if isinstance(cause, sqlite3.Error) and _LOCKED.search(str(cause)):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def users_of(file: Path) -> str:
    """The other processes that have a file open, as far as this user may know: ``process 12 (mlflow server)``."""
    found = list(_processes_with(file))
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return f"{', '.join(found[:_MOST_NAMED])}{more}"


def _processes_with(file: Path) -> Iterator[str]:
    import psutil

    real = os.path.realpath(file)
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            # A journal may be open where the file itself is not listed.
            if any(item.path in (real, f"{real}-journal", f"{real}-wal") for item in process.open_files()):
                # The program and what it runs; more of a command line may be nobody else's business.
                words = [Path(word).name for word in process.cmdline()[:3]]
                yield f"process {process.pid} ({' '.join(words)[:_LONGEST] or process.name()})"
        except (psutil.Error, OSError):
            continue  # it has ended, or belongs to somebody else


def is_known(revision: str) -> bool:
    """Whether this MLflow knows a revision of its tables: one that it does not is a newer MLflow's.

    Told from the names of its migrations, since importing them takes a second.
    """
    spec = find_spec("mlflow")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    migrations = [Path(folder, "store", "db_migrations", "versions") for folder in folders]
    if not any(folder.is_dir() for folder in migrations):
        return True  # MLflow keeps them elsewhere by now: it says itself what is wrong
    found = (next(folder.glob(f"{revision}_*.py"), None) for folder in migrations)
    return bool(re.fullmatch(r"\w+", revision)) and any(found)


def schema_fault(place: str, error: BaseException) -> MachineError | None:
    """That the tables of a store are not those of this MLflow, when an exception of it says so; None otherwise."""
    found = re.search(r"found version (\w+)|revision identified by '(\w+)'", str(error))
    revision = (found[1] or found[2]) if found else ""
    if revision and not is_known(revision):
        return made_by_newer(place, revision)
    if "out-of-date database schema" in str(error):
        return MachineError(
            f"{place} was made by an older version of MLflow", f"Back it up, then run: mlflow db upgrade {place}"
        )
    return None


def made_by_newer(place: str, revision: str) -> MachineError:
    """That the tables of a store are a newer MLflow's, which no command turns back."""
    return MachineError(
        f"{place} was made by a newer MLflow than this one ({version('mlflow')} does not know revision {revision})",
        "Upgrade Taxiway, which brings its MLflow, or use another store (TAXIWAY_HOME, MLFLOW_TRACKING_URI)",
    )


def is_news(record: logging.LogRecord) -> bool:
    """Whether what MLflow logs should be shown: not the stack trace of a lock, which is told in one line."""
    return not _LOCKED.search(record.getMessage())
