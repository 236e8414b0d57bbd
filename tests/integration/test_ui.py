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

from taxiway import links
from taxiway.cli import main
from taxiway.errors import NotFound, UsageError
from taxiway.registry import register
from taxiway.settings import Settings
from taxiway.store import connect
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
            assert ui.stdout.readline().strip() == links.experiments(f"http://127.0.0.1:{port}")
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
        assert (pages.address, pages.process) == (links.experiments(server.tracking_uri), None)
        pages.wait()
    assert not Path(server.home, "logs").exists()


def test_the_newest_sweep_or_a_version_is_opened_by_its_name(server: Settings, recipe: str) -> None:
    older = make_sweep(server, recipe, {"0.1": 0.7})
    sweep = make_sweep(server, recipe, {"0.1": 0.6})
    version = register(recipe, server, run=sweep.best)
    experiment = connect(server).get_run(sweep.parent).info.experiment_id
    with open_pages(server, show=recipe) as pages:
        assert pages.address == links.sweep(server.tracking_uri, experiment, sweep.parent, "holdout_roc_auc")
    with open_pages(server, show=recipe, run=older.runs[0][:8]) as pages:
        assert f"%27{older.parent}%27" in pages.address
    with open_pages(server, show=str(version)) as pages:
        assert pages.address == links.version(server.tracking_uri, recipe, version.version)


@pytest.mark.parametrize("show", ["nothing-like-it", "nothing-like-it/1"])
def test_what_is_not_there_is_said_before_anything_is_started(embedded: Settings, port: int, show: str) -> None:
    with pytest.raises(NotFound, match="nothing-like-it"), open_pages(embedded, port, show=show):
        pass
    assert not (embedded.home / "logs").exists()


@pytest.mark.parametrize("show", [None, "tip/1"])
def test_a_run_is_named_with_its_recipe(embedded: Settings, show: str | None) -> None:
    with pytest.raises(UsageError, match="taxiway ui tip --run abcd"), open_pages(embedded, show=show, run="abcd"):
        pass


@pytest.mark.parametrize("command", ["compare", "register", "promote", "models"])
def test_a_command_ends_with_the_page_of_what_it_did(
    store: Settings, recipe: str, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(store, recipe, {"0.1": 0.6})
    if command in ("promote", "models"):
        register(recipe, store)
    monkeypatch.setenv("TAXIWAY_HOME", str(store.home))
    if not store.embedded_store:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store.tracking_uri)
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main([command, recipe])
    assert left.value.code == 0
    (said,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("In MLflow: "))
    if store.embedded_store:
        assert said == f"In MLflow: taxiway ui {recipe}" + ("" if command == "compare" else "/1")
        return
    pages = {
        "compare": links.sweep(
            store.tracking_uri,
            connect(store).get_run(sweep.parent).info.experiment_id,
            sweep.parent,
            "holdout_roc_auc",
        ),
        "models": links.model(store.tracking_uri, recipe),
    }
    assert said == f"In MLflow: {pages.get(command, links.version(store.tracking_uri, recipe, 1))}"


def _listening(process: psutil.Process) -> list[tuple[str, int]]:
    return [item.laddr for item in process.net_connections("tcp") if item.status == psutil.CONN_LISTEN]
