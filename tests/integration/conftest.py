"""The embedded store and a real MLflow server on loopback, each empty to the test that uses it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from postgresql import mended_app, postgresql

from taxiway.settings import Settings, load_settings


@pytest.fixture(scope="session")
def database_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, made once by the product itself: its migrations take more than a second."""
    from taxiway.store import connect

    home = tmp_path_factory.mktemp("template")
    connect(load_settings({"home": home}, {}, home))
    return home / "mlflow.db"


@pytest.fixture
def embedded(settings: Settings, database_template: Path) -> Settings:
    """Settings of an embedded store of the test's own, made already."""
    settings.home.mkdir()
    shutil.copy(database_template, settings.home / "mlflow.db")
    return settings


@pytest.fixture(scope="session")
def server_address(tmp_path_factory: pytest.TempPathFactory, database_template: Path) -> Iterator[str]:
    """The address of a real MLflow server that ends with the session; it answers to 127.0.0.1 alone."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(database_template, folder / "mlflow.db")
    with mlflow_server(folder, f"sqlite:///{folder / 'mlflow.db'}") as address:
        yield address


@pytest.fixture(scope="session")
def postgresql_address() -> Iterator[str]:
    """The address of a real PostgreSQL that ends with the session."""
    with postgresql(free_port()) as address:
        yield address


@pytest.fixture(scope="session")
def postgresql_server_address(tmp_path_factory: pytest.TempPathFactory, postgresql_address: str) -> Iterator[str]:
    """The address of a real MLflow server on that PostgreSQL, which ends with the session too."""
    folder = tmp_path_factory.mktemp("postgresql-server")
    variables = mended_app(folder / "app")
    with mlflow_server(folder, postgresql_address, "--app-name", "mended", variables=variables) as address:
        yield address


@pytest.fixture
def server(tmp_path: Path, server_address: str) -> Settings:
    """Settings that name the server, with a home of the test's own."""
    return load_settings({"home": tmp_path / "home", "tracking_uri": server_address}, {}, tmp_path)


@pytest.fixture(params=["embedded", "server"])
def store(request: pytest.FixtureRequest) -> Settings:
    """Either store."""
    found: Settings = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def postgresql_server(tmp_path: Path, postgresql_server_address: str) -> Settings:
    """Settings that name the server on PostgreSQL, with a home of the test's own."""
    return load_settings({"home": tmp_path / "home", "tracking_uri": postgresql_server_address}, {}, tmp_path)


@pytest.fixture
def recipe() -> str:
    """A recipe's name that no other test uses: the server is shared."""
    return f"tip-{uuid4().hex[:8]}"


@pytest.fixture
def port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    return free_port()


@contextmanager
def mlflow_server(folder: Path, database: str, *more: str, variables: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run an MLflow server on a database, with its artifacts in a folder; its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", database, *more]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--allowed-hosts", f"127.0.0.1:{port}"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment |= variables or {}
    with (folder / "log").open("wb") as log:
        # A session of its own, so that the worker that it starts can be ended with it.
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        await_health(f"http://127.0.0.1:{port}", process, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def await_health(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers; fail with its log when it ends instead, or takes more than a minute."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with suppress(requests.RequestException):
            if requests.get(f"{address}/health", timeout=2).ok:
                return
        time.sleep(0.1)  # between two questions: the server is still importing
    pytest.fail(f"the server did not start: {log.read_text()}")
