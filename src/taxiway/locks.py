"""Locks between processes: those of a home with their names and patience, and how any file is held as a lock."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from taxiway.errors import MachineError, TaxiwayError
from taxiway.settings import Settings
from taxiway.sqlite import PATIENCE


@dataclass(frozen=True)
class HomeLock:
    """A lock that processes of one home share.

    Parameters
    ----------
    name : str
        Of its file below ``locks`` in the home.
    patience : float
        Seconds to wait for it; 0 to give up at once.
    """

    name: str
    patience: float = 0.0

    def file(self, settings: Settings) -> Path:
        """Where it lies."""
        return settings.home / "locks" / f"{self.name}.lock"


TRAINING = HomeLock("training")
REGISTRY = HomeLock("registry", PATIENCE)
STORE = HomeLock("store", 120.0)
"""Held while the embedded store is made, which takes seconds."""
STACK = HomeLock("stack")


def output_lock(address: str) -> HomeLock:
    """The lock of an output that cannot hold one itself, a bucket: it keeps processes of one home apart."""
    return HomeLock(f"out-{hashlib.sha256(address.encode()).hexdigest()[:16]}")


@contextmanager
def hold_home_lock(settings: Settings, lock: HomeLock, busy: Callable[[], TaxiwayError]) -> Iterator[None]:
    """Hold a lock of the home while the block runs.

    Parameters
    ----------
    settings : Settings
    lock : HomeLock
    busy : callable
        The error to raise when another process holds it for too long.

    Raises
    ------
    MachineError
        The home cannot be written.
    """

    def unwritable(error: OSError) -> MachineError:
        return MachineError(
            f"{settings.home} cannot be written: {error.strerror}", "Set TAXIWAY_HOME to a folder of your own"
        )

    file = lock.file(settings)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(error) from error
    with hold(file, lock.patience, busy, unwritable):
        yield


@contextmanager
def hold(
    file: Path, patience: float, busy: Callable[[], TaxiwayError], unwritable: Callable[[OSError], TaxiwayError]
) -> Iterator[None]:
    """Hold a file as a lock while the block runs; what the block raises is not touched.

    Parameters
    ----------
    file : Path
        Made if it is not there; its folder is.
    patience : float
        Seconds to wait for it.
    busy, unwritable : callable
        The error to raise when another process holds it for so long, and when it cannot be made.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(file, timeout=patience)
    try:
        lock.acquire()
    except Timeout:
        raise busy() from None
    except OSError as error:
        raise unwritable(error) from error
    try:
        yield
    finally:
        lock.release()
