"""A folder of partitions in which a partition is replaced whole or not at all."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taxiway.errors import MachineError, Refused, UsageError
from taxiway.locks import hold
from taxiway.spark_paths import spark_path

if TYPE_CHECKING:
    from collections.abc import Iterator

# Spark, pyarrow and the shell's `*` all pass over names that begin with a dot.
LOCK_FILE = ".taxiway.lock"
_STAGING = ".taxiway-staging-"
_FORMER = ".taxiway-former"


@dataclass(frozen=True)
class Staging:
    """New partitions on their way into a folder.

    Parameters
    ----------
    out : Path
        The folder that readers look into.
    folder : Path
        Where partitions are written first: hidden, on the same disk, gone at the end.
    """

    out: Path
    folder: Path
    one_file = False

    @property
    def root(self) -> str:
        """The address of what Spark writes below."""
        return spark_path(self.folder)

    def address(self, partition: str) -> str:
        """Where Spark is to write a partition, and reads it back."""
        return spark_path(self.place(partition))

    def former(self, partition: str) -> list[tuple[str, Path]]:
        """The files that would be replaced: name and path."""
        place = self.out / partition
        files = place.iterdir() if place.is_dir() else ()
        return [(file.name, file) for file in files if not file.name.startswith((".", "_"))]

    def place(self, partition: str) -> Path:
        """Where to write a partition (``colour=green/month=2023-01``); its parent exists."""
        place = self.folder / partition
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def publish(self, partition: str) -> None:
        """Put a partition that was written whole in the place of its former self.

        Whenever the process is killed, readers find the former partition whole or the new one
        whole. Where a file system cannot exchange two names in one step they may find neither
        for the moment between two renames; if it is killed just then, `replacing` brings the
        former one back the next time.
        """
        staged, place = self.folder / partition, self.out / partition
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            staged.rename(place)
        elif not _exchange(staged, place):
            former = self.out / _FORMER / partition
            former.parent.mkdir(parents=True, exist_ok=True)
            place.rename(former)
            staged.rename(place)
            # Among the staged ones it is rubbish, which may also be deleted by halves.
            former.rename(staged)


@contextmanager
def replacing(out: Path) -> Iterator[Staging]:
    """Be the only one to change a folder of partitions while the block runs.

    What an earlier process left behind when it was killed is put right first. What is not
    published when the block ends is removed.

    Parameters
    ----------
    out : Path
        Made if it is not there; taken away again if nothing comes to be in it.

    Raises
    ------
    UsageError
        It is a file.
    MachineError
        It cannot be written.
    Refused
        Another process is changing it.
    """
    made = _make_folder(out)
    try:
        with hold(out / LOCK_FILE, 0, lambda: busy(out), lambda error: _unwritable(out, error)):
            try:
                _put_right(out)
                yield Staging(out, Path(tempfile.mkdtemp(prefix=_STAGING, dir=out)))
            finally:
                _put_right(out)
                if made and [item.name for item in out.iterdir()] == [LOCK_FILE]:
                    (out / LOCK_FILE).unlink()
    finally:
        for folder in made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _make_folder(out: Path) -> tuple[Path, ...]:
    """Make a folder and say which ones that took, the innermost first."""
    missing = tuple(folder for folder in (out, *out.parents) if not folder.exists())
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{out} is not a folder, or lies below a file", "Name a folder with --out") from None
    except OSError as error:
        raise _unwritable(out, error) from error
    return missing


def busy(out: Path | str) -> Refused:
    """The error for an output that another process writes to."""
    return Refused(
        f"Another process is writing predictions to {out}", "Wait for it to end, or choose another place with --out"
    )


def _unwritable(out: Path, error: OSError) -> MachineError:
    return MachineError(f"{out} cannot be written: {error.strerror}", "Choose another folder with --out")


def _put_right(out: Path) -> None:
    """Bring back what was taken from its place and not replaced; remove what was staged."""
    formers = out / _FORMER
    for former in sorted(formers.glob("*/*")):
        place = out / former.relative_to(formers)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            former.rename(place)
    if formers.exists():
        # Renamed before it is deleted: half a partition must never be taken for a former one.
        formers.rename(Path(tempfile.mkdtemp(prefix=_STAGING, dir=out)) / "former")
    for leftover in out.glob(f"{_STAGING}*"):
        # A Spark that has just lost its driver may still be writing there; the next run removes it.
        shutil.rmtree(leftover, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step, if the system and the file system can.

    Python has no function of its own for it: ``renameat2`` of Linux (man 2 rename) and
    ``renamex_np`` of macOS (man 2 rename), both with the flag 2.
    """
    library = ctypes.CDLL(None, use_errno=True)
    names = (os.fsencode(one), os.fsencode(other))
    if sys.platform == "darwin":
        return hasattr(library, "renamex_np") and library.renamex_np(*names, ctypes.c_uint(2)) == 0
    here = ctypes.c_int(-100)  # AT_FDCWD
    if not hasattr(library, "renameat2"):
        return False
    return bool(library.renameat2(here, names[0], here, names[1], ctypes.c_uint(2)) == 0)
