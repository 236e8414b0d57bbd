"""Folders for what is on its way: private to the user, gone at the end."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taxiway.errors import MachineError
from taxiway.settings import Settings


def private_parent(settings: Settings) -> Path:
    """The folder under the home in which such folders are made.

    Raises
    ------
    MachineError
        The home cannot be written.
    """
    parent = settings.home / "tmp"
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"{parent} cannot be written: {error.strerror}", "Set TAXIWAY_HOME") from error
    return parent


@contextmanager
def private_folder(settings: Settings) -> Iterator[Path]:
    """A folder under the home that only this user can read, for as long as the block runs.

    Raises
    ------
    MachineError
        The home cannot be written.
    """
    parent = private_parent(settings)
    # What Spark, ended in the middle, still writes there must not hide why it ended.
    with tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


class KeptFolder:
    """A private folder that goes with this object: when nothing refers to it any more, or with the program.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    MachineError
        The home cannot be written.
    """

    def __init__(self, settings: Settings) -> None:
        self.path = Path(tempfile.mkdtemp(dir=private_parent(settings)))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
