"""A source of trips elsewhere, through fsspec: whether it answers, what it holds, and its files as streams."""

from __future__ import annotations

import multiprocessing
import re
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from taxiway.errors import Unreachable

CONNECT_SECONDS = 4.0
READ_SECONDS = 20.0
MARGIN = 0.9
REMEDY = "Check the network and --trips-source; offline, use a folder of trips or taxiway synth"
GONE = (403, 404, 410)

Result = TypeVar("Result")


class Missing(Exception):
    """The source has no such file, or does not show it to us."""


class Broken(Exception):
    """The connection was lost or the server is not well: worth another try."""


@dataclass(frozen=True)
class Stream:
    """A file on its way.

    Parameters
    ----------
    start : int
        Offset of the first byte that comes; 0 when the source cannot or must not go on.
    total : int or None
        Length of the whole file in bytes, where the source tells it.
    identity : str
        Changes when the file does; empty where the source tells none.
    read : callable
        Gives at most so many bytes, none at the end; raises `Broken`.
    close : callable
        Lets the connection go.
    """

    start: int
    total: int | None
    identity: str
    read: Callable[[int], bytes]
    close: Callable[[], None]


class Remote(ABC):
    """A base address that files of trips lie under."""

    folders_first = False

    def __init__(self, location: str) -> None:
        self.location = location
        self.shown = shown(location)

    def check(self, timeout: float) -> str:
        """Ask for a sign of life; one line says what answered.

        Raises
        ------
        Unreachable
            Nothing answers within `timeout` seconds.
        NotFound
            The bucket, container or folder does not exist.
        """
        try:
            return within(timeout * MARGIN, self._ask)
        except multiprocessing.TimeoutError as error:
            raise silent(self.shown) from error
        except (Broken, OSError) as error:
            raise Unreachable(f"The source of trips {self.shown} does not answer ({cause(error)})", REMEDY) from error

    @abstractmethod
    def open(self, name: str, offset: int, identity: str) -> Stream:
        """Open a file, from an offset on if it still is the one of that identity.

        Raises
        ------
        Missing, Broken
        """

    @abstractmethod
    def names_in(self, folder: str) -> list[str]:
        """The Parquet files in a folder, relative to the base; none where listing is unknown."""

    @abstractmethod
    def _ask(self) -> str:
        """Ask for a sign of life."""


def shown(location: str) -> str:
    """An address as it may be shown and kept: without password, key or query.

    Examples
    --------
    >>> shown("https://ana:s3cret@host/trips?sig=abc")
    'https://host/trips'
    >>> shown("abfs://container@account.dfs.core.windows.net/trips")
    'abfs://container@account.dfs.core.windows.net/trips'
    """
    address = re.sub(r"[?#].*", "", location).rstrip("/")
    # In an abfs address, what stands before the @ is the container.
    pattern = r"(?<=://)[^/@]*:[^/@]*@" if address.startswith(("abfs", "az")) else r"(?<=://)[^/]*@"
    return re.sub(pattern, "", address)


def within(seconds: float, action: Callable[[], Result]) -> Result:
    """Run an action in a thread that is left behind when it takes too long.

    Raises
    ------
    multiprocessing.TimeoutError
        It took longer than `seconds`.
    """
    pool = ThreadPool(1)
    try:
        return pool.apply_async(action).get(seconds)
    finally:
        pool.close()


def knock(host: str, port: int) -> None:
    """Open a connection and close it: the fastest way to learn that nobody is there.

    Raises
    ------
    OSError
        Unknown host, no route, refused, or no answer in time.
    """
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except UnicodeError as error:
        raise OSError(f"unknown host {host}") from error


def silent(address: str) -> Unreachable:
    """What is said of a source that takes a connection and nothing more, or not even that."""
    return Unreachable(f"The source of trips {address} does not answer (no answer in time)", REMEDY)


def first_hop(location: str) -> tuple[str, int]:
    """The host that is connected to: a proxy where one is set."""
    parts = urlsplit(location)
    proxy = getproxies().get(parts.scheme, "")
    if proxy and not proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def cause(error: BaseException) -> str:
    """The system's own words at the bottom of a chain of exceptions, in a few."""
    text = f"{error} {error.__cause__ or ''}".lower()
    for sign, words in (
        ("refused", "connection refused"),
        ("connect call failed", "connection refused"),
        ("timed out", "no answer in time"),
        ("timeout", "no answer in time"),
        ("not known", "unknown host"),
        ("resol", "unknown host"),
        ("unreachable", "no route"),
    ):
        if sign in text:
            return words
    return first_line(error)


def first_line(error: BaseException) -> str:
    """The first line of a message, without credentials."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return re.sub(r"[?]\S*", "", re.sub(r"://[^\s/]*@", "://", line))[:200]
