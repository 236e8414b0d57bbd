"""The MLflow store: a SQLite file under the home, or a server; reachable or not, and who is using it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxiway import run_tags
from taxiway.errors import MachineError, Refused, TaxiwayError, Unreachable
from taxiway.locks import REGISTRY, STORE, TRAINING, hold_home_lock
from taxiway.names import equals, folder_name
from taxiway.reach import check_database, check_server, is_server, question_server, without_credentials
from taxiway.settings import Settings
from taxiway.sqlite import (
    PATIENCE,
    check_file,
    file_of,
    is_news,
    locked,
    note_opened,
    schema_fault,
    users_of,
    wait_in_sessions,
)
from taxiway.variables import prepare_environment

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_WHO = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
# What MLflow was lent for the container stack: taken back before any other store is opened.
_LENT: dict[str, str] = {}
DATABASE_FILE = "mlflow.db"
_PAGE = 1000


def connect(settings: Settings) -> MlflowClient:
    """Open the store that the settings name, and make MLflow's own functions use it too.

    Parameters
    ----------
    settings : Settings
        The embedded store is created on first use.

    Returns
    -------
    MlflowClient

    Raises
    ------
    Unreachable
        The server does not answer within five seconds, or does not let us in.
    MachineError
        The home cannot be written, or the SQLite file is not usable.
    Refused
        Another program has had the SQLite file locked for half a minute.
    UsageError
        The address is of no kind that Taxiway supports.
    NotFound
        The profile is ``stack``, and the container stack was never started.
    """
    prepare_environment()
    _lend_credentials(settings)
    uri = settings.tracking_uri
    if settings.embedded_store:
        _make_embedded_store(settings)
    elif is_server(uri):
        _ask_server(settings)
    else:
        check_database(uri)
        file = file_of(uri)
        if file is not None and file.exists():
            check_file(file)
    return _client(uri)


def import_mlflow() -> Any:
    """MLflow, imported quietly; it takes two seconds the first time."""
    import logging
    import warnings

    prepare_environment()
    # In a notebook, tqdm asks for widgets to draw bars that MLflow has been told not to draw.
    warnings.filterwarnings("ignore", message="IProgress not found")
    import mlflow

    # Somebody may have imported it before us (a notebook, a test), with its own level.
    level = os.environ["MLFLOW_LOGGING_LEVEL"].upper()
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(level)
    # A filter that is there already is not added again.
    logging.getLogger("mlflow.store.db.utils").addFilter(is_news)
    return mlflow


def experiment_id(client: MlflowClient, settings: Settings, name: str) -> str:
    """The experiment of that name; made, or restored when it was deleted.

    Parameters
    ----------
    client : MlflowClient
    settings : Settings
        In the embedded store the artifacts go to ``{home}/artifacts/<name>``, or to a folder whose
        name every system can hold.
    name : str
        The recipe's name.

    Returns
    -------
    str
        MLflow's id of the experiment.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        folder = settings.home / "artifacts" / folder_name(name)
        location = folder.as_uri() if settings.embedded_store else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            # Another process may have been faster; if not, the error stands.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def server_version(settings: Settings) -> str:
    """The version of MLflow that keeps the store.

    Returns
    -------
    str
        A server's own version, asked for; this machine's for a store without a server.

    Raises
    ------
    Unreachable
        The server does not answer, or does not let us in.
    """
    from importlib.metadata import version

    if not is_server(settings.tracking_uri):
        return version("mlflow")
    _lend_credentials(settings)
    return _ask_server(settings)


def check_embedded_store(settings: Settings, patience: float = PATIENCE) -> bool:
    """Whether the embedded store exists; one that is there must be usable.

    Raises
    ------
    Refused
        Another program has had the file locked for so many seconds.
    MachineError
        The file cannot be read and written, is no SQLite file, or a newer MLflow's.
    """
    file = settings.home / DATABASE_FILE
    if not file.exists():
        return False
    check_file(file, patience)
    return True


def address(settings: Settings) -> str:
    """Where the store is, as it may be shown: without user, password or query."""
    return without_credentials(settings.tracking_uri)


@contextmanager
def training_lock(settings: Settings) -> Iterator[None]:
    """Be the only training on this home while the block runs.

    Raises
    ------
    Refused
        Another process holds it; said at once, with its number and since when.
    """
    sidecar = TRAINING.file(settings).with_suffix(".json")
    with hold_home_lock(settings, TRAINING, lambda: _who_trains(sidecar)):
        sidecar.write_text(json.dumps({"pid": os.getpid(), "since": time.time()}))
        try:
            yield
        finally:
            sidecar.unlink(missing_ok=True)


@contextmanager
def registry_lock(settings: Settings) -> Iterator[None]:
    """Change the registry alone; waits for whoever is changing it from this home.

    Raises
    ------
    Refused
        It was not free within half a minute.
    """
    with hold_home_lock(settings, REGISTRY, lambda: _who_registers(settings)):
        yield


def close_abandoned_runs(client: MlflowClient, experiment_id: str) -> tuple[str, ...]:
    """Mark as KILLED the runs that a process of this machine left RUNNING when it was killed.

    Call it under `training_lock`. Runs of other machines, of living processes and of other
    programs stay as they are.

    Returns
    -------
    tuple of str
        Ids of the runs that were closed.
    """
    host = socket.gethostname()
    mine = f"{equals('attributes.status', 'RUNNING')} AND {equals(f'tags.`{run_tags.HOST}`', host)}"
    closed = []
    for run in search_runs(client, [experiment_id], mine):
        pid = run.data.tags.get(run_tags.PID, "")
        if run.info.status != "RUNNING" or run.data.tags.get(run_tags.HOST) != host:
            continue
        if pid.isdigit() and not is_alive(int(pid), run.info.start_time / 1000):
            client.set_terminated(run.info.run_id, "KILLED")
            closed.append(run.info.run_id)
    return tuple(closed)


def search_runs(
    client: MlflowClient, experiment_ids: list[str], condition: str, order: tuple[str, ...] = ()
) -> Iterator[Run]:
    """All runs that meet a condition, page after page; values stand in it by `taxiway.names.equals`."""
    token = None
    while True:
        page = client.search_runs(
            experiment_ids, condition, max_results=_PAGE, order_by=list(order) or None, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def is_alive(pid: int, since: float) -> bool:
    """Whether the process that had this number at a moment (seconds since 1970) still runs."""
    import psutil

    try:
        process = psutil.Process(pid)
        # A process younger than the moment only inherited the number. Two seconds of grace, since
        # the machine's boot time, which this is counted from, is rounded.
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= since + 2)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _ask_server(settings: Settings) -> str:
    try:
        check_server(settings.tracking_uri)
        import_mlflow()
        return question_server(settings.tracking_uri)
    except Unreachable as error:
        if not settings.on_stack:
            raise
        remedy = "taxiway stack status says how the container stack is; taxiway stack up starts it"
        raise Unreachable(error.message, remedy) from error


def _lend_credentials(settings: Settings) -> None:
    """Tell MLflow who we are to the container stack, unless the user has told it."""
    for name, value in _LENT.items():
        if os.environ.get(name) == value:
            del os.environ[name]
    _LENT.clear()
    if not any(os.environ.get(name) for name in _WHO):
        _LENT.update(settings.credentials())
        os.environ.update(_LENT)


def _client(uri: str) -> MlflowClient:
    mlflow = import_mlflow()
    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException

    note_opened(uri)
    own = {name: os.environ[name] for name in ("MLFLOW_TRACKING_URI",) if name in os.environ}
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    # MLflow 3.17 writes the address there too, where the next `load_settings` would take it for the user's wish.
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ.update(own)
    try:
        client: MlflowClient = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    except (MlflowException, CommandError) as error:
        raise locked(error) or _store_fault(uri, error) from error
    if file_of(uri) is not None:
        # Private to MLflow 3.17, which has no other way to its engines.
        for store in (client._tracking_client.store, client._get_registry_client().store):
            wait_in_sessions(store.engine)
    return client


def _store_fault(uri: str, error: Exception) -> TaxiwayError:
    place = without_credentials(uri)
    if fault := schema_fault(place, error):
        return fault
    first = without_credentials(next(iter(str(error).splitlines()), type(error).__name__))
    return MachineError(f"{place} cannot be used: {first[:200]}", "Check MLFLOW_TRACKING_URI")


def _make_embedded_store(settings: Settings) -> None:
    file = settings.home / DATABASE_FILE
    try:
        (settings.home / "artifacts").mkdir(parents=True, exist_ok=True)
        if check_embedded_store(settings):
            return
        busy = MachineError(f"{file} is being made by another process", "Wait for it to end and try again")
        with hold_home_lock(settings, STORE, lambda: busy):
            if not file.exists():
                _create_file(settings, file)
    except OSError as error:
        raise MachineError(
            f"{error.filename or settings.home} cannot be written: {error.strerror}",
            "Set TAXIWAY_HOME to a folder of your own",
        ) from error


def _create_file(settings: Settings, file: Path) -> None:
    """Make the tables in a file aside and move it into place: whole, or not there at all.

    MLflow runs its 68 migrations without a transaction around them and without a lock; a process
    killed among them, or two side by side, leave a file that no later start repairs (seen in 3.17).
    """
    import_mlflow()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    partial = file.with_name(f"{DATABASE_FILE}.partial")
    for leftover in file.parent.glob(f"{partial.name}*"):
        leftover.unlink()
    # Made here and not by the client, which would write the working directory of the day into the
    # file as the place of the default experiment's artifacts.
    root = (settings.home / "artifacts").as_uri()
    store = SqlAlchemyStore(f"sqlite:///{partial}", root)
    store.engine.dispose()
    partial.replace(file)


def _who_registers(settings: Settings) -> Refused:
    users = users_of(REGISTRY.file(settings))
    who = f" ({users})" if users else ""
    return Refused(f"Another process{who} is changing the model registry", "Wait for it to end and try again")


def _who_trains(sidecar: Path) -> Refused:
    try:
        holder = json.loads(sidecar.read_text())
        since = time.strftime("%H:%M", time.localtime(holder["since"]))
        who = f" (process {holder['pid']}, since {since})"
    except (OSError, ValueError, KeyError):
        who = ""
    return Refused(
        f"Another training{who} is using this store",
        "Wait for it to end, stop it, or train into another store with --home",
    )
