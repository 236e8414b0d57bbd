"""Downloads that are whole or not there: resumed, checked, and only then given their name."""

from __future__ import annotations

import errno
import json
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import AsyncResult, ThreadPool
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from taxiway.errors import BadData, MachineError, NotFound, Unreachable
from taxiway.progress import Progress
from taxiway.trips.connecting import open_remote
from taxiway.trips.months import Month
from taxiway.trips.published import MonthFiles, describe, read_facts
from taxiway.trips.remote import Broken, Missing, Remote, Stream
from taxiway.trips.schema import Layout

PATIENCE = 5.0
"""Seconds that a source has to answer before anything is asked of it."""

# aiohttp drops what it has buffered when a connection breaks (3.14) and buffers twice what is
# asked for: small bites, so that little is fetched again.
_CHUNK = 1 << 16
_ATTEMPTS = 4
_BACKOFF = 0.25
_FAREWELL = 2.0
_MANIFEST = "whole.json"
Result = TypeVar("Result")

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Stopped(Exception):
    """Another download failed, or the user pressed Ctrl-C."""


@dataclass(frozen=True)
class Wanted:
    """A month to be fetched, and where it is kept.

    Parameters
    ----------
    month : Month
        What is wanted.
    layout : Layout
        The columns that its files must have.
    names : tuple of str
        Names of the file at the source, best first.
    parts_folder : str
        Folder at the source that holds the month as several files; empty for none.
    folder : Path
        Where downloads from this source are kept.
    """

    month: Month
    layout: Layout
    names: tuple[str, ...]
    parts_folder: str
    folder: Path

    @property
    def kept_parts(self) -> Path:
        """Where a month of several files is kept."""
        return self.folder / f"{self.month.colour}_{self.month.label}"

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders at the source that may hold the month as several files: one of a file's name is what Spark writes."""
        return tuple(name for name in (*self.names, self.parts_folder) if name)

    @property
    def lock(self) -> Path:
        """Held while the month is fetched, so that two commands do not write one file."""
        return self.folder / f".{self.month.colour}_{self.month.label}.lock"

    def paths(self) -> list[Path]:
        """The files that are here and whole; none if the month has yet to be fetched."""
        single = [self.folder / name for name in self.names if (self.folder / name).is_file()]
        if single:
            return single[:1]
        manifest = self.kept_parts / _MANIFEST
        if not manifest.is_file():
            return []
        parts = [self.kept_parts / name for name in json.loads(manifest.read_text(encoding="utf-8"))]
        return parts if all(part.is_file() for part in parts) else []

    def month_files(self, source: str) -> MonthFiles:
        """Read what the files say about themselves."""
        return describe(self.month, self.layout, self.paths(), source)

    def forget(self) -> None:
        """Remove what is here."""
        for path in self.paths():
            path.unlink(missing_ok=True)


def download(wanted: Sequence[Wanted], location: str, progress: Progress, jobs: int) -> None:
    """Fetch months, several at once.

    Parameters
    ----------
    wanted : sequence of Wanted
        Months that are not here yet.
    location : str
        The address that they lie under.
    progress : Progress
        Told the bytes.
    jobs : int
        Months fetched at once.

    Raises
    ------
    NotFound, BadData, Unreachable, MachineError
        The first thing that went wrong; the other downloads stop, and go on next time.
    """
    began = time.monotonic()
    remote = open_remote(location, PATIENCE)
    remote.check(max(1.0, PATIENCE - (time.monotonic() - began)))
    stop = threading.Event()
    meter = _Meter(progress, len(wanted))
    worker = _Worker(remote, stop, meter)
    finished: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    pool = ThreadPool(max(1, min(jobs, len(wanted))))
    running: list[AsyncResult[None]] = []
    try:
        running.extend(
            pool.apply_async(worker.fetch, (item,), callback=finished.put, error_callback=finished.put)
            for item in wanted
        )
        for _ in wanted:
            failure = finished.get()
            if failure is not None:
                raise failure
        meter.end()
    finally:
        stop.set()
        deadline = time.monotonic() + _FAREWELL
        for result in running:
            result.wait(max(0.0, deadline - time.monotonic()))
        pool.terminate()


class _Meter:
    """One bar for all files: the length of those not yet opened is guessed from the others."""

    def __init__(self, progress: Progress, months: int) -> None:
        self._progress = progress
        self._task = f"Fetching {months} month{'s' if months > 1 else ''} of trips"
        self._months = months
        self._lengths: dict[str, int] = {}
        self._counted: dict[str, int] = {}
        self._lock = threading.Lock()
        progress.begin(self._task, None, "B")

    def opened(self, name: str, stream: Stream) -> None:
        """A file was opened at an offset, which may lie before what was counted of it."""
        with self._lock:
            if stream.total is not None:
                self._lengths[name] = stream.total
                files = max(self._months, len(self._lengths))
                total = sum(self._lengths.values()) / len(self._lengths) * files
                self._progress.begin(self._task, total, "B")
            self._count(name, stream.start - self._counted.get(name, 0))

    def advance(self, name: str, by: int) -> None:
        """Some bytes of a file have come."""
        with self._lock:
            self._count(name, by)

    def end(self) -> None:
        """Nothing more comes."""
        with self._lock:
            self._progress.end(self._task)

    def _count(self, name: str, by: int) -> None:
        self._counted[name] = self._counted.get(name, 0) + by
        if by:
            self._progress.advance(self._task, by)


class _Part:
    """A file that is not whole yet, and the identity of what it is a part of."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._identity = target.with_name(f"{target.name}.part.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def state(self) -> tuple[int, str]:
        """How far it has come, of what; nothing when that is not known."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            return self.size(), str(json.loads(self._identity.read_text(encoding="utf-8"))["identity"])
        return 0, ""

    def start_over(self, identity: str) -> None:
        # The old identity goes first: bytes without one are never gone on with.
        self.discard()
        if identity:
            self._identity.write_text(json.dumps({"identity": identity}), encoding="utf-8")

    def discard(self) -> None:
        self._identity.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def become(self, target: Path) -> None:
        """Take the final name, once all bytes have reached the disk."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(target)
        self._identity.unlink(missing_ok=True)


class _Worker:
    """Fetches one month at a time."""

    def __init__(self, remote: Remote, stop: threading.Event, meter: _Meter) -> None:
        self.remote = remote
        self.stop = stop
        self.meter = meter

    def fetch(self, wanted: Wanted) -> None:
        """Fetch one month, unless another command does so meanwhile."""
        try:
            wanted.folder.mkdir(parents=True, exist_ok=True)
            with self._alone(wanted):
                if not wanted.paths():
                    self._fetch(wanted)
        except OSError as error:
            raise machine_fault(error, wanted.folder) from error

    @contextmanager
    def _alone(self, wanted: Wanted) -> Iterator[None]:
        lock = FileLock(wanted.lock)
        while not lock.is_locked:
            self._check_stop()
            with suppress(Timeout):
                lock.acquire(timeout=0.2)
        try:
            yield
        finally:
            lock.release()

    def _fetch(self, wanted: Wanted) -> None:
        ways = [self._fetch_single, self._fetch_parts]
        if self.remote.folders_first:
            ways.reverse()
        if not any(way(wanted) for way in ways):
            raise NotFound(
                f"{wanted.month} is not published at {self.remote.shown}",
                f"It would be called {wanted.names[0]}; the newest months appear about two months late",
            )

    def _fetch_single(self, wanted: Wanted) -> bool:
        return any(self._fetch_file(name, wanted.folder / name, wanted.layout) for name in wanted.names)

    def _fetch_parts(self, wanted: Wanted) -> bool:
        listed = (self._persist(partial(self.remote.names_in, folder), folder) for folder in wanted.folders)
        names: list[str] = next(filter(None, listed), [])
        if not names:
            return False
        # Parts of different months may have the same name; here each file's name says its month.
        kept = [f"{wanted.kept_parts.name}_{name.rpartition('/')[2]}" for name in names]
        for name, short in zip(names, kept, strict=True):
            target = wanted.kept_parts / short
            if not target.is_file() and not self._fetch_file(name, target, wanted.layout):
                raise Unreachable(f"{name} vanished from {self.remote.shown} meanwhile", "Run the command again")
        manifest = wanted.kept_parts / f"{_MANIFEST}.part"
        manifest.write_text(json.dumps(kept), encoding="utf-8")
        manifest.replace(wanted.kept_parts / _MANIFEST)
        return True

    def _fetch_file(self, name: str, target: Path, layout: Layout) -> bool:
        part = _Part(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._persist(lambda: self._transfer(name, part), name, part)
            facts = read_facts(part.path, layout, f"{self.remote.shown}/{name}", target.suffix)
            if not facts.rows:
                raise BadData(f"{self.remote.shown}/{name} holds no trips at all", "Name another month")
            part.become(target)
        except Missing:
            part.discard()
            return False
        except BadData:
            part.discard()
            raise
        except OSError as error:
            if error.errno in _FULL:
                part.discard()
            raise
        return True

    def _transfer(self, name: str, part: _Part) -> None:
        """Bring a part to its full length, or as far as the connection lasts."""
        stream = self.remote.open(name, *part.state())
        try:
            if stream.start == 0:
                part.start_over(stream.identity)
            self.meter.opened(name, stream)
            _check_space(part.path, stream)
            with part.path.open("ab") as file:
                file.truncate(stream.start)
                while data := stream.read(_CHUNK):
                    file.write(data)
                    # What is on disk is what the next attempt goes on from, whatever ends this one.
                    file.flush()
                    self.meter.advance(name, len(data))
                    self._check_stop()
        finally:
            stream.close()
        if stream.total is not None and part.size() != stream.total:
            raise Broken("the file ended early")

    def _persist(self, action: Callable[[], Result], name: str, part: _Part | None = None) -> Result:
        """Try again while the source breaks off; an attempt that came further than all before is not counted."""
        failures, furthest = 0, part.size() if part else 0
        while True:
            self._check_stop()
            try:
                return action()
            except Broken as error:
                reached = part.size() if part else 0
                failures = 0 if reached > furthest else failures + 1
                furthest = max(furthest, reached)
                if failures >= _ATTEMPTS:
                    raise Unreachable(
                        f"{self.remote.shown} breaks off at {name} ({error})",
                        "Run it again: it goes on where it stopped",
                    ) from error
            self.stop.wait(_BACKOFF * 2**failures)

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise Stopped


def machine_fault(error: OSError, folder: Path) -> MachineError:
    """Say in our words what the disk said."""
    if error.errno in _FULL:
        return MachineError(
            f"The disk is full: trips cannot be kept in {folder}", "Free some space, or set TAXIWAY_HOME"
        )
    return MachineError(
        f"The folder {folder} cannot be written ({error.strerror or error})",
        "Change its permissions, or set TAXIWAY_HOME to another folder",
    )


def _check_space(path: Path, stream: Stream) -> None:
    free = shutil.disk_usage(path.parent).free
    if stream.total is not None and stream.total - stream.start > free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
