"""Whether a tracking address answers: asked before MLflow retries for minutes."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from taxiway.errors import Unreachable, UsageError
from taxiway.proxies import spare_loopback

PATIENCE = 4.0
"""Seconds that a server has to answer."""

# What the other end of a connection may be silent, in seconds, when it is asked whether it is there.
_SILENCE = 12
_REMEDY = "Start it, or correct MLFLOW_TRACKING_URI; without one, a store under the home is used"
_SIGN_IN = "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN)"
_EXAMPLE = "http://127.0.0.1:5000"
_HOST_AND_PORT = re.compile(r"(?:[^\s/:@]+|\[[0-9a-fA-F:.]+\])(?::\d+(?:/\S*)?)?")
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def is_server(uri: str) -> bool:
    """Whether the address is an MLflow server's."""
    return uri.lower().startswith(("http://", "https://"))


def without_credentials(uri: str) -> str:
    """An address as it may be shown: without user, password and query.

    Examples
    --------
    >>> without_credentials("postgresql+psycopg://ana:s3cret@db/mlflow?password=x")
    'postgresql+psycopg://db/mlflow'
    """
    return re.sub(r"(\w://[^\s?#]*)[?#]\S*", r"\1", re.sub(r"://[^\s/]*@", "://", uri))


def check_address(uri: str) -> None:
    """Say what is wrong with an address of a store that is of no kind that Taxiway supports.

    Parameters
    ----------
    uri : str
        A server (``http://``, ``https://``), a SQLite file, or a database of PostgreSQL, MySQL or SQL
        Server. MLflow knows more kinds, which lack a registry with stages or keep it elsewhere.

    Raises
    ------
    UsageError

    Examples
    --------
    >>> check_address("http://127.0.0.1:5000")
    >>> check_address("127.0.0.1:5000")
    Traceback (most recent call last):
    taxiway.errors.UsageError: '127.0.0.1:5000' says no kind of store. Write http://127.0.0.1:5000
    """
    place = without_credentials(uri)
    scheme, colon, rest = uri.partition("://")
    dialect = scheme.lower().partition("+")[0] if colon else ""
    if is_server(uri):
        _check_host(uri, place)
    elif dialect == "sqlite":
        if not re.fullmatch(r"/[^?]+(\?.*)?", rest) or rest.startswith("/:memory:"):
            raise UsageError(f"'{place}' names no file", "Write sqlite:////folder/mlflow.db, with four slashes")
    elif dialect not in _DATABASE_PORTS:
        raise UsageError(*_unsupported(uri, place, dialect))


def _check_host(uri: str, place: str) -> None:
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or re.search(r"\s", uri):
        raise UsageError(f"'{place}' is not an address of a server", f"Write for example {_EXAMPLE}")


def _unsupported(uri: str, place: str, dialect: str) -> tuple[str, str]:
    """What an address is instead of one that Taxiway supports, and what to write."""
    kind = dialect or uri.partition(":")[0].lower()
    if kind == "postgres":
        return f"'{place}' has a scheme that SQLAlchemy does not know", "Write postgresql+psycopg://…"
    if kind in ("databricks", "databricks-uc", "uc"):
        return (
            f"'{place}' is a workspace of Databricks, which Taxiway does not support",
            f"Name an MLflow server of your own ({_EXAMPLE}), or leave it out for the store under the home",
        )
    if kind == "file" or (not dialect and (uri.startswith((".", "/", "~")) or "/" in uri.partition(":")[0])):
        return (
            f"'{place}' is a folder of files, which MLflow develops no further and Taxiway does not support",
            "Write sqlite:////folder/mlflow.db, or leave it out for the store under the home",
        )
    if not dialect and _HOST_AND_PORT.fullmatch(uri.strip()):
        return f"'{place}' says no kind of store", f"Write http://{place.strip()}"
    return (
        f"'{place}' is no kind of MLflow store that Taxiway supports",
        f"Write {_EXAMPLE} for a server, sqlite:////folder/mlflow.db for a file, or postgresql+psycopg://…",
    )


def _notice_dead_networks() -> None:
    """Let this process's HTTP connections end soon after their network does.

    To whoever waits for an answer a cut network looks like a busy server: MLflow would wait for its
    whole timeout. Sockets that ask whether the other end is there know within `_SILENCE` seconds.
    """
    from urllib3.connection import HTTPConnection

    # Not every system has all of them; TCP_USER_TIMEOUT counts milliseconds.
    wanted = {
        "TCP_KEEPIDLE": _SILENCE // 2,
        "TCP_KEEPINTVL": _SILENCE // 4,
        "TCP_KEEPCNT": 2,
        "TCP_USER_TIMEOUT": _SILENCE * 1000,
    }
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    options += [
        (socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in wanted.items() if hasattr(socket, name)
    ]
    known = list(HTTPConnection.default_socket_options)
    HTTPConnection.default_socket_options = [*known, *(option for option in options if option not in known)]


def check_server(uri: str) -> None:
    """Ask a server for a sign of life; needs no MLflow, so that the answer comes fast.

    Raises
    ------
    Unreachable
        Nothing answers within `PATIENCE` seconds, or what answers is not well. Who may come in is
        judged by `question_server`, which knows MLflow's credentials.
    UsageError
        It is no address.
    """
    import requests

    check_address(uri)
    _notice_dead_networks()
    spare_loopback()
    place = without_credentials(uri)
    try:
        # Requests bounds each read, and each address of a name, but not the whole.
        status = _within(PATIENCE, lambda: requests.get(f"{uri.rstrip('/')}/health", timeout=PATIENCE).status_code)
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, ValueError) as error:
        raise UsageError(f"'{place}' is not an address of a server", f"Write for example {_EXAMPLE}") from error
    except requests.exceptions.SSLError:
        # MLflow has variables of its own for certificates: `question_server` asks with them.
        return
    except (TimeoutError, requests.exceptions.Timeout) as error:
        raise Unreachable(
            f"The MLflow server at {place} does not answer within {PATIENCE:.0f} seconds", _REMEDY
        ) from error
    except requests.exceptions.RequestException as error:
        raise Unreachable(f"No MLflow server answers at {place} ({_cause(error)})", _REMEDY) from error
    if status >= 500:
        raise _not_well(place, status)


class Watch:
    """Since when a server has been away: threads that need it wait for it together, not one after the other.

    A context manager. Anything else than a server is never away.

    Parameters
    ----------
    uri : str
    patience : float
        Seconds that a server may be away.
    between : float
        Seconds between two questions.

    Attributes
    ----------
    away_since : float or None
        The monotonic clock when it was first found away; None while it answers.
    """

    def __init__(self, uri: str, patience: float = 30.0, between: float = 3.0) -> None:
        self.away_since: float | None = None
        self._uri, self._patience, self._between = uri, patience, between
        self._fault = Unreachable("The MLflow server does not answer")
        self._ended = threading.Event()
        self._changed = threading.Condition()

    def __enter__(self) -> Watch:
        if is_server(self._uri):
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def insist(self) -> None:
        """Return at once, unless the server has been away for longer than one should wait.

        Raises
        ------
        Unreachable
        """
        since = self.away_since
        if since is not None and time.monotonic() - since > self._patience:
            raise self._fault

    def await_server(self) -> None:
        """Return when the server answers.

        Raises
        ------
        Unreachable
            It has been away for longer than one should wait.
        """
        with self._changed:
            while self.away_since is not None:
                self.insist()
                self._changed.wait(self._between)

    def _watch(self) -> None:
        while not self._ended.wait(self._between):
            began = time.monotonic()
            try:
                check_server(self._uri)
                since = None
            except Unreachable as fault:
                self._fault = fault
                since = began if self.away_since is None else self.away_since
            with self._changed:
                self.away_since = since
                self._changed.notify_all()


def question_server(uri: str) -> str:
    """Ask a server for its version, then for something that only known users get.

    MLflow must have been imported: its variables for credentials and certificates are used.

    Returns
    -------
    str
        The version of MLflow that the server runs, or ``unknown``.

    Raises
    ------
    Unreachable
        It refuses us, or is no MLflow server.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    place = without_credentials(uri)

    def ask(endpoint: str, **more: Any) -> Any:
        who = get_default_host_creds(uri)
        # It has just shown that it lives: a busy one may take its time.
        bounds = {"max_retries": 0, "timeout": 10, "raise_on_status": False}
        return http_request(who, endpoint, "GET", **bounds, **more)

    try:
        listed = ask("/api/2.0/mlflow/experiments/search", params={"max_results": 1})
        _judge(place, listed.status_code, listed.text)
        version = ask("/version")
    except MlflowException as error:
        remedy = "Set MLFLOW_TRACKING_SERVER_CERT_PATH to its certificate" if "SSL" in str(error) else _REMEDY
        raise Unreachable(f"The MLflow server at {place} broke off: {_first_line(error)}", remedy) from error
    text = str(version.text).strip()
    return text if version.status_code == 200 and re.fullmatch(r"\d+\.\d+[\w.+-]*", text) else "unknown"


def check_database(uri: str) -> None:
    """Ask a database for a connection, which MLflow would retry for 100 seconds.

    Parameters
    ----------
    uri : str
        What is not a database on a host (``sqlite:///…``) passes unasked.

    Raises
    ------
    Unreachable
        Nothing answers, or the database refuses us.
    UsageError
        The driver that the address names is not installed, or the address is of no kind that
        Taxiway supports.
    """
    check_address(uri)
    parts = urlsplit(uri)
    dialect = parts.scheme.partition("+")[0]
    if dialect not in _DATABASE_PORTS or not parts.hostname:
        return
    place = without_credentials(uri)
    host, port = parts.hostname, parts.port or _DATABASE_PORTS[dialect]
    try:
        _within(PATIENCE, lambda: socket.create_connection((host, port), PATIENCE).close())
    except OSError as error:
        raise Unreachable(
            f"No database answers at {place} ({_cause(error)})", "Start it, or correct MLFLOW_TRACKING_URI"
        ) from error
    _sign_in(uri, place)


def _sign_in(uri: str, place: str) -> None:
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = sqlalchemy.create_engine(uri)
        with engine.connect():
            pass
        engine.dispose()
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{place} needs the package {error.name}",
            "Install it; for PostgreSQL: pip install 'psycopg[binary]' and write postgresql+psycopg://",
        ) from error
    except SQLAlchemyError as error:
        raise Unreachable(
            f"The database at {place} refuses the connection: {_first_line(error)}", "Check user, password and database"
        ) from error


def _judge(place: str, status: int, text: str) -> None:
    if status == 401:
        raise Unreachable(f"The MLflow server at {place} asks who you are (HTTP 401)", _SIGN_IN)
    if status == 403 and "host" in text.lower():
        # MLflow refuses names that it was not started with, since 3.5.
        raise Unreachable(
            f"The MLflow server at {place} does not know itself by that name (HTTP 403)",
            "Start it with --allowed-hosts listing this host and port, or use a name that it lists",
        )
    if status == 403:
        raise Unreachable(f"The MLflow server at {place} does not let you in (HTTP 403)", _SIGN_IN)
    if status >= 500:
        raise _not_well(place, status)
    if status != 200:
        raise Unreachable(f"What answers at {place} is not an MLflow server (HTTP {status})", _REMEDY)


def _not_well(place: str, status: int) -> Unreachable:
    return Unreachable(f"The MLflow server at {place} is not well (HTTP {status})", "Look at its log, or wait")


def _within(seconds: float, action: Callable[[], Any]) -> Any:
    """Run an action in a thread that is left behind when it takes too long."""
    outcome: list[Any] = []
    failure: list[OSError | ValueError] = []

    def run() -> None:
        try:
            outcome.append(action())
        except (OSError, ValueError) as error:  # all that asking an address raises
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not outcome:
        raise TimeoutError("timed out")
    return outcome[0]


def _cause(error: BaseException) -> str:
    """The system's own words at the bottom of a chain of exceptions."""
    text = str(error)
    for sign, words in (
        ("refused", "connection refused"),
        ("timed out", "no answer in time"),
        ("resolve", "unknown host"),
        ("Name or service not known", "unknown host"),
        ("nodename nor servname", "unknown host"),
    ):
        if sign in text:
            return words
    return type(error).__name__


def _first_line(error: BaseException) -> str:
    return without_credentials(next(iter(str(error).splitlines()), type(error).__name__))[:200]
