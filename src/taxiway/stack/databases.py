"""The stack's two databases: dumped, restored beside the present ones, and put in their place in one step.

Nothing in a dump is run with more rights than MLflow's own role has. Roles and passwords are not in a dump.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import IO

from taxiway.errors import MachineError, TaxiwayError
from taxiway.stack.archive import Readable
from taxiway.stack.contents import READ_TABLES, TABLES, Contents, read_contents
from taxiway.stack.docker import Docker
from taxiway.stack.streams import program

MLFLOW, AUTH = "mlflow", "mlflow_auth"
DATABASES = (MLFLOW, AUTH)
"""In the order in which they are dumped: permissions may name what the other dump lacks, and not the reverse."""

_ASIDE, _FORMER = "restoring", "replaced"
_TRIES = 3
_LONG = 3600.0
# With MLflow's own role, over TCP and with its password. What a dump brings along (a view, a function) can then
# do what MLflow could, and no more: not even when somebody has tampered with it.
_AS_MLFLOW = ("as_mlflow",)
_PSQL = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--dbname")


def dump(docker: Docker, database: str, out: IO[bytes]) -> None:
    """Write one consistent picture of a database, in the format of pg_restore."""
    command = (*_AS_MLFLOW, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", "--dbname", database)
    with program(docker, docker.container_of("db"), *command, what=f"dump the database {database}") as process:
        _copy(process.stdout, out)


def contents_of(docker: Docker, dumped: IO[bytes]) -> Contents:
    """What a dump of MLflow's database holds, read from the dump itself."""
    tables = [f"--table={table}" for table in READ_TABLES]
    command = ("pg_restore", "--data-only", *tables, "--file=-")
    # The program gets the file itself, of which Python may be ahead in its own buffer.
    os.lseek(dumped.fileno(), 0, os.SEEK_SET)
    with program(docker, docker.container_of("db"), *command, what="read the dump", stdin=dumped) as process:
        assert process.stdout is not None  # noqa: S101  # for mypy: `program` opens it with stdout=PIPE
        return read_contents(process.stdout)


def server_version(docker: Docker) -> str:
    """PostgreSQL's version, ``18.6``."""
    return _psql(docker, "SHOW server_version").split()[0]


def row_counts(docker: Docker, *, aside: bool = False) -> Mapping[str, int]:
    """Rows of each of the counted tables of MLflow's database; all zero while it has no tables.

    Parameters
    ----------
    docker : Docker
    aside : bool
        Of the one that is being restored, instead of the present one.
    """
    database = f"{MLFLOW}_{_ASIDE}" if aside else MLFLOW
    there = _psql(docker, f"SELECT to_regclass('{TABLES[-1]}') IS NOT NULL", database, _AS_MLFLOW)
    if there.strip() != "t":
        return dict.fromkeys(TABLES, 0)
    counts = [_psql(docker, f"SELECT count(*) FROM {table}", database, _AS_MLFLOW) for table in TABLES]  # noqa: S608  # TABLES is a constant; no input is in it
    return dict(zip(TABLES, map(int, counts), strict=True))


def prepare(docker: Docker, note: str) -> None:
    """Make an empty database beside each of the present ones; what an earlier restore has left goes.

    Parameters
    ----------
    docker : Docker
    note : str
        Kept with them, until they are in their places: what is being restored.
    """
    discard(docker)
    for database in DATABASES:
        name = f"{database}_{_ASIDE}"
        _psql(docker, f"CREATE DATABASE {name} OWNER mlflow")
        _psql(docker, f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
        _psql(docker, f"COMMENT ON DATABASE {name} IS {_quoted(note)}")


def restore_aside(docker: Docker, database: str, dumped: Readable) -> None:
    """Restore a dump into the database that `prepare` has made, whole or not at all."""
    name = f"{database}_{_ASIDE}"
    options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--no-comments")
    command = (*_AS_MLFLOW, "pg_restore", *options, "--dbname", name)
    what = f"restore the database {database}"
    with program(docker, docker.container_of("db"), *command, what=what, stdin=subprocess.PIPE) as process:
        _copy(dumped, process.stdin)
    _psql(docker, "ANALYZE", name, _AS_MLFLOW)


def swap(docker: Docker, note: str) -> None:
    """Put both restored databases in the places of the present ones, which are kept aside: both, or neither."""
    lines = [_END_SESSIONS, "BEGIN"]
    for database in DATABASES:
        lines.append(f"ALTER DATABASE {database} RENAME TO {database}_{_FORMER}")
        lines.append(f"ALTER DATABASE {database}_{_ASIDE} RENAME TO {database}")
        # The note goes on standing at what has to be tidied up.
        lines.append(f"COMMENT ON DATABASE {database}_{_FORMER} IS {_quoted(note)}")
        lines.append(f"COMMENT ON DATABASE {database} IS NULL")
    for left in reversed(range(_TRIES)):
        try:
            _psql(docker, ";\n".join([*lines, "COMMIT"]))
        except MachineError:
            # The health check has come back in between; PostgreSQL waits five seconds for it to leave.
            if not left:
                raise
        else:
            return


def discard(docker: Docker) -> None:
    """Remove what a restore has left beside the databases."""
    for database in _left_over(docker):
        _psql(docker, f"DROP DATABASE {database} WITH (FORCE)")


def unfinished_restore(docker: Docker) -> str:
    """A sentence about a restore that did not end; empty when there is none, or the database does not run."""
    try:
        what = unfinished(docker)
    except TaxiwayError:
        # It does not run, or is not well: its own state says so.
        return ""
    return f"A restore of {what} did not end; run it again: taxiway stack restore" if what else ""


def unfinished(docker: Docker) -> str:
    """What was being restored by a restore that did not end; empty when there is none."""
    left = ", ".join(map(_quoted, _left_over(docker)))
    if not left:
        return ""
    notes = _psql(docker, f"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname IN ({left})")  # noqa: S608  # `left` is made of DATABASES and two constant endings; no input is in it
    return next((line for line in notes.splitlines() if line), "a backup")


_END_SESSIONS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND datname ~ '^mlflow(_|$)'"
)


def _left_over(docker: Docker) -> list[str]:
    found = set(_psql(docker, "SELECT datname FROM pg_database").split())
    return [name for database in DATABASES for what in (_ASIDE, _FORMER) if (name := f"{database}_{what}") in found]


def _psql(docker: Docker, sql: str, database: str = "postgres", who: tuple[str, ...] = ()) -> str:
    """What PostgreSQL answers, to its superuser unless another one asks; columns are parted by ``|``."""
    return docker.execute("db", *who, "psql", *_PSQL, database, stdin=f"{sql};\n".encode(), patience=_LONG)


def _quoted(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def _copy(source: Readable | None, target: IO[bytes] | None) -> None:
    if source is None or target is None:
        raise TypeError("no pipe was asked for")
    while block := source.read(2**20):
        target.write(block)
