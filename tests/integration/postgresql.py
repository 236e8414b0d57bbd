"""A real PostgreSQL on loopback, and an MLflow server on it, as the container stack has them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from services import missing

IMAGE = Path(__file__).parents[2] / "images" / "mlflow_server"
START = 60.0
"""Seconds that a database has to start on a busy machine."""

_OWNER = "postgres"
_APP = """
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from taxiway_mlflow.stages import number_versions

number_versions(SqlAlchemyStore)
from mlflow.server.fastapi_app import app
"""


@contextmanager
def postgresql(port: int) -> Iterator[str]:
    """Run a new PostgreSQL with one empty database; its address for SQLAlchemy."""
    if find_spec("psycopg") is None:
        missing("PostgreSQL's driver: install the development dependencies, psycopg[binary] among them")
    programs = _programs()
    # Not below pytest's own folder, which only its user may enter: PostgreSQL refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="taxiway-postgresql-"))
    who = {"user": _OWNER, "group": _OWNER, "extra_groups": []} if os.geteuid() == 0 else {}
    if who:
        shutil.chown(folder, _OWNER, _OWNER)
    data = folder / "data"
    try:
        made = [programs / "initdb", "-D", data, "-U", _OWNER, "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "-N"]
        subprocess.run(made, cwd=folder, check=True, capture_output=True, **who)
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-k", folder]
        with (folder / "log").open("wb") as log:
            command = [programs / "postgres", "-D", data, "-p", str(port), *options]
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **who)
        try:
            _make_database(port, process, folder / "log")
            yield f"postgresql+psycopg://{_OWNER}@127.0.0.1:{port}/mlflow"
        finally:
            process.send_signal(signal.SIGINT)  # a fast shutdown: it ends its sessions
            process.wait(30)
    finally:
        shutil.rmtree(folder)


def mended_app(folder: Path) -> dict[str, str]:
    """Variables with which ``mlflow server --app-name mended`` mends MLflow as the stack's image does.

    MLflow 3.17 compares a version's number with a text, which psycopg 3 refuses. The image's own
    module is used, found by an entry point as the image's application is.
    """
    folder.mkdir()
    (folder / "mended_mlflow.py").write_text(_APP)
    package = folder / "mended_mlflow-0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: mended-mlflow\nVersion: 0\n")
    (package / "entry_points.txt").write_text("[mlflow.app]\nmended = mended_mlflow:app\n")
    places = [str(folder), str(IMAGE), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, places))}


def _programs() -> Path:
    """The folder of PostgreSQL's programs, which Debian keeps off the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    usable = [folder for folder in folders if (folder / "initdb").is_file() and (folder / "postgres").is_file()]
    if not usable:
        missing("PostgreSQL: install it (Debian's package is called postgresql)")
    return usable[-1]


def _make_database(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + START
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with closing(psycopg.connect(f"host=127.0.0.1 port={port} user={_OWNER}", autocommit=True)) as session:
                session.execute("CREATE DATABASE mlflow")
                return
        except psycopg.OperationalError:
            time.sleep(0.1)  # another process starts: nothing tells when it listens but asking again
    pytest.fail(f"PostgreSQL did not start: {log.read_text()}")
