"""The file that a backup is: a tar of members with their sums, written whole or not at all, checked before use.

The last member is the manifest; a file without it was cut off. Everything is read and written as a stream,
so that memory does not grow with the backup. ``.tar`` is not compressed, ``.tar.gz`` and ``.tar.zst`` are.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from taxiway.errors import BadData, MachineError, NotFound, Refused, UsageError
from taxiway.progress import Progress

FORMAT = 1
MANIFEST = "manifest.json"
SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst")
BLOCK = 2**20
_MOST_MANIFEST = 2**30
_BY_ANOTHER = "Use the version of Taxiway that made it, or a later one"


@dataclass(frozen=True)
class Member:
    """One file in a backup."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself.

    Parameters
    ----------
    created : str
        When the databases were dumped, UTC.
    taxiway, mlflow, postgresql : str
        The versions that made it.
    counts : mapping of str to int
        ``experiments``, ``runs``, ``registered_models``, ``model_versions``, ``logged_models``, as rows
        of the database; ``objects`` and ``object_bytes``.
    missing : tuple of str
        What has no files in it, each with the reason; empty unless a backup was asked for all the same.
    members : mapping of str to Member
        Every other file in the backup, by its name.
    format : int
        `FORMAT` when this version of Taxiway made it.
    """

    created: str
    taxiway: str
    mlflow: str
    postgresql: str
    counts: Mapping[str, int]
    missing: tuple[str, ...] = ()
    members: Mapping[str, Member] = field(default_factory=dict)
    format: int = FORMAT


class Readable(Protocol):
    """A stream to read from."""

    def read(self, count: int, /) -> bytes:
        """Up to `count` bytes; none at the end."""


class Tap:
    """A stream to read from that takes the sum of what passes, and tells how much did."""

    def __init__(self, stream: Readable, told: Callable[[int], None] | None = None) -> None:
        self._stream = stream
        self._told = told
        self._sum = hashlib.sha256()
        self._count = 0

    def read(self, count: int = BLOCK) -> bytes:
        """What the stream gives."""
        block = self._stream.read(count)
        self._sum.update(block)
        self._count += len(block)
        if self._told is not None:
            self._told(len(block))
        return block

    @property
    def member(self) -> Member:
        """What has passed."""
        return Member(self._count, self._sum.hexdigest())


class ArchiveWriter:
    """A backup that is being written. Made by `new_archive`."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.members: dict[str, Member] = {}

    def add(self, name: str, size: int, stream: Readable, told: Callable[[int], None] | None = None) -> Member:
        """Write one member of a known size.

        Raises
        ------
        OSError
            The stream ends before its size is reached, or the disk is full.
        """
        tap = Tap(stream, told)
        header = tarfile.TarInfo(name)
        header.size, header.mode = size, 0o600
        self._tar.addfile(header, tap)
        self.members[name] = tap.member
        return tap.member

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, which makes the backup whole."""
        document = json.dumps(asdict(manifest), indent=1).encode()
        header = tarfile.TarInfo(MANIFEST)
        header.size, header.mode = len(document), 0o600
        self._tar.addfile(header, io.BytesIO(document))


def check_target(path: Path) -> None:
    """Say at once what would end a backup after minutes.

    Raises
    ------
    UsageError
        Its name ends in nothing that we write.
    Refused
        It exists.
    NotFound
        Its folder does not exist.
    MachineError
        Its folder cannot be written.
    """
    if not path.name.endswith(SUFFIXES):
        raise UsageError(f"'{path.name}' is not the name of a backup", f"End it in {', '.join(SUFFIXES)}")
    if path.exists():
        raise Refused(f"{path} exists", "Choose another name, or remove it")
    if not path.parent.is_dir():
        raise NotFound(f"There is no folder {path.parent}", "Make it, or choose another one")
    if not os.access(path.parent, os.W_OK):
        raise MachineError(f"{path.parent} cannot be written", "Choose another folder, or change its permissions")


@contextmanager
def new_archive(path: Path) -> Iterator[ArchiveWriter]:
    """Write a backup beside its place and move it there when the block ends well; else nothing is left.

    What is in it is for its owner alone: it holds the hashes of passwords.
    """
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".partial")
    partial = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            with closing(_compressed(file, path.name)) as stream, _tar(stream, "w|") as tar:
                yield ArchiveWriter(tar)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def verify(path: Path, progress: Progress) -> Manifest:
    """Read a backup from end to end and compare every member with its sum.

    Raises
    ------
    NotFound
        There is no such file.
    BadData
        It is no backup, was cut off, or differs from what was written.
    """
    task = "Checking the backup"
    seen: dict[str, Member] = {}
    manifest = None
    with open_archive(path, progress, task) as members:
        for name, stream, size in members:
            if manifest is not None or name in seen:
                raise _damaged(path, f"it holds {name} where it should not")
            if name == MANIFEST:
                manifest = _parse(path, stream.read(min(size, _MOST_MANIFEST)))
                continue
            tap = Tap(stream)
            while tap.read():
                pass
            seen[name] = tap.member
    if manifest is None:
        raise _damaged(path, "its end is missing")
    for name in sorted(seen.keys() | manifest.members.keys()):
        if seen.get(name) != manifest.members.get(name):
            raise _damaged(path, f"{name} is not what was written")
    return manifest


@contextmanager
def open_archive(path: Path, progress: Progress, task: str) -> Iterator[Iterator[tuple[str, IO[bytes], int]]]:
    """The members of a backup as they come: name, content, size. Read each before the next is asked for.

    Raises
    ------
    NotFound
        There is no such file.
    BadData
        It cannot be read as a backup.
    """
    try:
        with path.open("rb") as file:
            progress.begin(task, path.stat().st_size, "B")
            raw = Tap(file, lambda count: progress.advance(task, count))
            with closing(_uncompressed(raw, path.name)) as stream, _tar(stream, "r|") as tar:
                yield _members(tar)
            progress.end(task)
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound(f"There is no file {path}", "Name a backup that taxiway stack backup has written") from None
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, str(error) or "it ends too early") from error
    except OSError as error:
        # What a stream of zstd says of bytes that are none has no number of the system's.
        if error.errno is None:
            raise _damaged(path, str(error)) from error
        raise


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes], int]]:
    for header in tar:
        content = tar.extractfile(header)
        if content is None:
            raise tarfile.ReadError(f"{header.name} is no file")
        yield header.name, content, header.size


def _parse(path: Path, document: bytes) -> Manifest:
    try:
        fields: dict[str, Any] = json.loads(document)
        if fields["format"] > FORMAT:
            raise BadData(f"{path} is a backup of format {fields['format']}, and {FORMAT} is known here", _BY_ANOTHER)
        members = {name: Member(**member) for name, member in fields.pop("members").items()}
        return Manifest(**{**fields, "missing": tuple(fields["missing"])}, members=members)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, "its manifest cannot be read") from error


def _damaged(path: Path, why: str) -> BadData:
    return BadData(f"{path} is damaged, or no backup of Taxiway: {why}", "Use another copy of it")


def _tar(stream: Any, mode: str) -> tarfile.TarFile:
    options: dict[str, Any] = {"bufsize": BLOCK, "copybufsize": BLOCK}
    # Of a damaged member tarfile would read on as if nothing were.
    return tarfile.open(fileobj=stream, mode=mode, format=tarfile.PAX_FORMAT, errorlevel=2, **options)  # type: ignore[call-overload,no-any-return]  # typeshed has an overload for each literal mode, and none for a variable


def _compressed(file: IO[bytes], name: str) -> Any:
    if name.endswith("gz"):
        # Models are compressed already: a higher level takes three times as long to save 2 %.
        return gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, filename="")
    if name.endswith(".zst"):
        import pyarrow as pa

        return pa.CompressedOutputStream(pa.PythonFile(_Open(file), "w"), "zstd")
    return _Open(file)


def _uncompressed(file: Any, name: str) -> Any:
    if name.endswith("gz"):
        return gzip.GzipFile(fileobj=file, mode="rb")
    if name.endswith(".zst"):
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(_Open(file), "r"), "zstd")
    return _Open(file)


class _Open:
    """A stream as it is, which whoever opened it closes."""

    closed = False

    def __init__(self, stream: Any) -> None:
        self.read = stream.read
        self.write = getattr(stream, "write", None)

    def flush(self) -> None:
        """Leave that to whoever opened it."""

    def close(self) -> None:
        """Leave it open."""
