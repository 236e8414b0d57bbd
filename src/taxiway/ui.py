"""MLflow's own pages on the store that needs no server, on this machine alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from taxiway import links
from taxiway.errors import MachineError, UsageError
from taxiway.progress import Progress, Silent
from taxiway.proxies import sparing_loopback
from taxiway.reach import is_server, without_credentials
from taxiway.settings import Settings
from taxiway.store import check_embedded_store, connect
from taxiway.variables import prepare_environment

if TYPE_CHECKING:
    from taxiway.comparison import Comparison
    from taxiway.training import Training

HOST = "127.0.0.1"
Page = Callable[[str], str]
"""Makes the link of a page from the address of the server that shows it."""

_APP = "taxiway-ui"
_PATIENCE = 120.0


@dataclass(frozen=True)
class Pages:
    """MLflow's pages, open.

    Parameters
    ----------
    address : str
        The link to open in a browser.
    process : Popen, optional
        The server that shows them; None when somebody else's does.
    """

    address: str
    process: subprocess.Popen[bytes] | None = None

    def wait(self) -> None:
        """Wait until the server ends; at once when it is somebody else's."""
        if self.process is not None:
            self.process.wait()


def pages_address(settings: Settings) -> str | None:
    """Where a browser finds MLflow's pages, without user and password; None while no server shows them."""
    if not is_server(settings.tracking_uri):
        return None
    return without_credentials(settings.mlflow_pages or settings.tracking_uri)


def sweep_page(sweep: Comparison | Training) -> Page:
    """The page with the candidates of a sweep."""
    return partial(
        links.sweep,
        experiment_id=sweep.experiment_id,
        parent_run_id=sweep.parent_run_id,
        metric=sweep.metric,
        higher_is_better=sweep.higher_is_better,
    )


def version_page(name: str, number: int) -> Page:
    """The page of a registered version."""
    return partial(links.version, name=name, number=number)


def where(settings: Settings, page: Page, name: str = "") -> str:
    """What opens a page: its link, or the command that serves it where no server does.

    Parameters
    ----------
    settings : Settings
    page : callable
    name : str
        What the command calls the page: ``tip`` or ``tip/3``, or nothing for all experiments.

    Returns
    -------
    str
    """
    server = pages_address(settings)
    return f"taxiway ui {name}".rstrip() if server is None else page(server)


@contextmanager
def open_pages(
    settings: Settings,
    port: int = 5000,
    progress: Progress | None = None,
    *,
    show: str | None = None,
    run: str | None = None,
) -> Iterator[Pages]:
    """Serve MLflow's pages while the block runs.

    Parameters
    ----------
    settings : Settings
        When they name a server, its own address is given and nothing is started.
    port : int
        On 127.0.0.1.
    progress : Progress, optional
    show : str, optional
        The page to open: the newest sweep of ``tip``, or the version ``tip/3``. The list of experiments by default.
    run : str, optional
        The id of a run, or its beginning: the page of its sweep instead of the newest one's.

    Yields
    ------
    Pages

    Raises
    ------
    UsageError
        The port is taken, or a run is named without its recipe.
    NotFound
        There is no such sweep or version.
    MachineError
        MLflow's server does not start.
    """
    server = pages_address(settings)
    if server is not None:
        connect(settings)
        yield Pages(_find_page(settings, show, run)(server))
        return
    _check_installation()
    _check_port(port)
    page = _find_page(settings, show, run)
    watch = progress or Silent()
    watch.begin("Starting MLflow's pages")
    prepare_environment()
    # The server imports MLflow for seconds; so do we only where a store has yet to be made.
    if not (settings.embedded_store and check_embedded_store(settings)):
        connect(settings)
    log = settings.home / "logs" / "ui.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        process = _start(settings, port, stream.fileno())
    try:
        _wait(process, port, log)
        watch.end("Starting MLflow's pages")
        yield Pages(page(links.on_this_machine(port)), process)
    finally:
        _stop(process)


def _find_page(settings: Settings, show: str | None, run: str | None) -> Page:
    from taxiway.comparison import compare
    from taxiway.versions import models, parse_model, pick

    name, number = parse_model(show) if show is not None else ("", None)
    if run is not None and (number is not None or not name):
        raise UsageError("A run is one of a recipe's", f"Name the recipe alone: taxiway ui tip --run {run}")
    if not name:
        return links.experiments
    if number is None:
        return sweep_page(compare(name, settings, run=run))
    pick(models(name, settings), name, number)
    return version_page(name, number)


def _check_installation() -> None:
    """MLflow finds our application by what pip has written down, and only in the log does it say that there is none."""
    if not entry_points(group="mlflow.app", name=_APP):
        raise MachineError("Taxiway was installed from older code than this", "Install it again: make install")


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        # As the server itself does: a port that was left a moment ago may be taken again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError as error:
            raise UsageError(f"Port {port} needs root", "Choose one above 1023 with --port") from error
        except OSError as error:
            raise UsageError(f"Port {port} is taken by another program", "Choose another one with --port") from error


def _start(settings: Settings, port: int, log: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    # MLflow 3.17 starts four workers and a job runner by default: 15 processes, 2.2 GB.
    command += ["--workers", "1"]
    command += ["--app-name", _APP]
    # Without a list, names of other private addresses are accepted as well (3.17).
    command += ["--allowed-hosts", f"{HOST}:{port},localhost:{port}"]
    command += ["--artifacts-destination", str(settings.home / "artifacts")]
    environment = {
        **os.environ,
        # Its own parts ask each other, and it asks S3 servers of this machine.
        **sparing_loopback(os.environ),
        # Not on the command line, where every user of the machine could read its password.
        "MLFLOW_BACKEND_STORE_URI": settings.tracking_uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    # A session of its own: Ctrl-C reaches us alone, and we end it with all that it started. The
    # home as working directory, since MLflow writes into the one that it is started in.
    return subprocess.Popen(
        command,
        cwd=settings.home,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import requests

    end = time.monotonic() + _PATIENCE
    with requests.Session() as session:
        # No proxy of the user's shell: it would look for the pages on a machine of its own.
        session.trust_env = False
        while time.monotonic() < end and process.poll() is None:
            with suppress(requests.RequestException):
                if session.get(f"{links.on_this_machine(port)}/health", timeout=2).ok:
                    return
            time.sleep(0.2)  # between two questions: the server imports for seconds
    raise MachineError("MLflow's pages did not start", f"See {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return
