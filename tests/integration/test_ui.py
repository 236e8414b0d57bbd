"""MLflow's pages on the embedded store: one worker, this machine alone, and gone when they are ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import requests
from sweeps import make_sweep

from taxiway.errors import UsageError
from taxiway.settings import Settings
from taxiway.ui import open_pages


def test_the_pages_show_the_embedded_store_until_ctrl_c(
    embedded: Settings, recipe: str, port: int, taxiway_command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A proxy that nobody runs: this machine's own pages are not asked for through it.
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    proxied = {**os.environ, "http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    sweep = make_sweep(embedded, recipe, {"0.1": 0.6}, with_model=False)
    command = [taxiway_command, "ui", "--port", str(port), "--home", str(embedded.home)]
    with subprocess.Popen(command, env=proxied, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as ui:
        try:
            assert ui.stdout is not None
            assert ui.stdout.readline() == f"http://127.0.0.1:{port}\n"
            started = psutil.Process(ui.pid).children(recursive=True)
            run = requests.get(
                f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/get", params={"run_id": sweep.best}, timeout=30
            ).json()["run"]
            assert run["data"]["metrics"][0]["key"] in {"holdout_roc_auc", "train_roc_auc"}
            # The server and its one worker; the store's address stands on no command line.
            assert len(started) <= 3
            assert not [process for process in started if "sqlite" in " ".join(process.cmdline())]
            assert {address.ip for process in started for address in _listening(process)} == {"127.0.0.1"}
        finally:
            ui.send_signal(signal.SIGINT)
        assert ui.wait(30) == 0
    gone, alive = psutil.wait_procs(started, timeout=10)
    assert (len(gone), alive) == (len(started), [])


def test_a_port_that_is_taken(embedded: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(UsageError, match=f"Port {port} is taken"), open_pages(embedded, port):
            pass
    assert time.monotonic() - began < 5


def test_a_server_shows_its_own_pages(server: Settings) -> None:
    with open_pages(server) as pages:
        assert (pages.address, pages.process) == (server.tracking_uri, None)
        pages.wait()
    assert not Path(server.home, "logs").exists()


def _listening(process: psutil.Process) -> list[tuple[str, int]]:
    return [item.laddr for item in process.net_connections("tcp") if item.status == psutil.CONN_LISTEN]
