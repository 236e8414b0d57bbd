"""``taxiway stack backup``: the databases and the bucket's objects in one file, consistent with each other.

A database is dumped as it was at one moment, and the objects are copied after that: MLflow writes a model's
files before it says that the model is there, so what the dump names is in the bucket, unless somebody has
removed it since. That is looked at, and the backup taken again when it happened.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from taxiway import __version__
from taxiway.errors import MachineError, Refused
from taxiway.progress import Progress, Silent
from taxiway.settings import Settings
from taxiway.stack.archive import BLOCK, ArchiveWriter, Manifest, Member, check_target, new_archive
from taxiway.stack.contents import MLMODEL, Contents, gaps
from taxiway.stack.databases import DATABASES, contents_of, dump, server_version
from taxiway.stack.docker import Docker, find_docker
from taxiway.stack.status import mlflow_version
from taxiway.stack.streams import Changed, bucket_job, check_running, objects

OBJECTS = "objects/"
TOTAL, SUMS = "total.json", "sums.json"
_TRIES = 3
_DUMPING, _COPYING = "Dumping the databases", "Copying the objects"
_SMALL = 2**20  # bytes of an MLmodel file; more is none


@dataclass(frozen=True)
class Backup:
    """A backup that was written.

    Parameters
    ----------
    path : Path
    bytes : int
        Its size.
    manifest : Manifest
    seconds : float
        How long it took.
    """

    path: Path
    bytes: int
    manifest: Manifest
    seconds: float


def member_of(database: str) -> str:
    """The name of a database's dump in a backup."""
    return f"db/{database}.dump"


def backup(settings: Settings, path: Path, progress: Progress | None = None, *, incomplete: bool = False) -> Backup:
    """Write the stack's databases and objects to one file, whole or not at all. The stack goes on working.

    Passwords, keys, the trips and what lies in JupyterLab's folder `work` are not in it.

    Parameters
    ----------
    settings : Settings
    path : Path
        Must not exist. ``.tar``, ``.tar.gz`` or ``.tar.zst``.
    progress : Progress, optional
    incomplete : bool
        Write it although versions or models have lost files; the manifest names them.

    Returns
    -------
    Backup

    Raises
    ------
    UsageError, Refused, NotFound
        The file's name, that it exists, or that its folder does not.
    NotFound
        The stack, or one of its services, is not there.
    Refused
        A version or a model has not all of its files in the bucket, not even when asked again.
    Changed
        Objects are replaced again and again while they are read.
    MachineError
        The disk is too small or cannot be written, or a program of the stack failed.
    """
    began, watch = time.monotonic(), progress or Silent()
    check_target(path)
    docker = find_docker(settings)
    check_running(docker)
    missing: tuple[str, ...] = ()
    with bucket_job(docker) as job:
        for left in reversed(range(_TRIES)):
            before = missing
            try:
                manifest = _write(docker, job, path, watch, accepted=before if incomplete else ())
                return Backup(path, path.stat().st_size, manifest, time.monotonic() - began)
            except Changed as change:
                if not left:
                    raise
                watch.note(f"{change.message}: once more from the beginning.")
                continue
            except _Gaps as found:
                missing = found.missing
            if missing == before:
                break
            watch.note(f"{missing[0]}: once more from the beginning, in case it was removed meanwhile.")
    more = f", and {len(missing) - 1} more are like that" if missing[1:] else ""
    raise Refused(f"{missing[0]}{more}", "Delete it, or add --incomplete for a backup without its files")


class _Gaps(Exception):
    """Something lacks files in the backup that was being written."""

    def __init__(self, missing: tuple[str, ...]) -> None:
        super().__init__(missing)
        self.missing = missing


def _write(docker: Docker, job: str, path: Path, watch: Progress, accepted: Sequence[str]) -> Manifest:
    """Write the file once.

    Raises
    ------
    _Gaps
        Something lacks files that is not accepted without; nothing is left of the file then.
    """
    created = datetime.now(UTC).isoformat(timespec="seconds")
    with new_archive(path) as archive:
        contents = _add_databases(docker, archive, path.parent, watch)
        copied = _copy_objects(docker, job, archive, path, watch)
        missing = gaps(contents, copied.sizes, copied.descriptions)
        if set(missing) - set(accepted):
            raise _Gaps(missing)
        counts = {**contents.counts, "objects": len(copied.sizes), "object_bytes": sum(copied.sizes.values())}
        versions = (__version__, mlflow_version(docker) or "unknown", server_version(docker))
        manifest = Manifest(created, *versions, counts, missing, archive.members)
        archive.finish(manifest)
    return manifest


def _add_databases(docker: Docker, archive: ArchiveWriter, folder: Path, watch: Progress) -> Contents:
    watch.begin(_DUMPING, len(DATABASES))
    contents = None
    for database in DATABASES:
        # A tar says how long a member is before the member; how long a dump is shows at its end.
        with tempfile.TemporaryFile(dir=folder) as dumped:
            dump(docker, database, dumped)
            size = dumped.tell()
            dumped.seek(0)
            archive.add(member_of(database), size, dumped)
            contents = contents or contents_of(docker, dumped)
        watch.advance(_DUMPING)
    watch.end(_DUMPING)
    if contents is None:
        raise TypeError("no database was dumped")
    return contents


@dataclass
class _Copied:
    """What has been copied from the bucket: sizes by key, and the contents of the files MLmodel."""

    sizes: dict[str, int] = field(default_factory=dict)
    descriptions: dict[str, bytes] = field(default_factory=dict)


def _copy_objects(docker: Docker, job: str, archive: ArchiveWriter, path: Path, watch: Progress) -> _Copied:
    copied, sums = _Copied(), None
    with (
        objects(docker, job, "export", what="read the bucket") as process,
        tarfile.open(fileobj=process.stdout, mode="r|", bufsize=BLOCK, errorlevel=2) as stream,
    ):
        for header in stream:
            content = stream.extractfile(header)
            if content is None:
                raise tarfile.ReadError(f"{header.name} is no file")
            if header.name == TOTAL:
                total = json.loads(content.read())["bytes"]
                _check_space(path, total)
                watch.begin(_COPYING, total, "B")
            elif header.name == SUMS:
                sums = {key: Member(*member) for key, member in json.loads(content.read()).items()}
            else:
                _copy_object(archive, header, content, copied, watch)
    watch.end(_COPYING)
    ours = {name.removeprefix(OBJECTS): member for name, member in archive.members.items() if name.startswith(OBJECTS)}
    if sums != ours:
        raise MachineError("The objects did not come as they are in the bucket", "Run it again")
    return copied


def _copy_object(
    archive: ArchiveWriter, header: tarfile.TarInfo, content: IO[bytes], copied: _Copied, watch: Progress
) -> None:
    key = header.name.removeprefix(OBJECTS)
    if key.endswith(f"/{MLMODEL}") and header.size <= _SMALL:
        copied.descriptions[key] = content.read()
        content = io.BytesIO(copied.descriptions[key])
    archive.add(header.name, header.size, content, lambda count: watch.advance(_COPYING, count))
    copied.sizes[key] = header.size


def _check_space(path: Path, total: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if path.name.endswith(".tar") and free < total:
        raise MachineError(
            f"{path.parent} has {free / 1e9:.1f} GB free, and the objects take {total / 1e9:.1f} GB",
            "Free some space, or choose another folder",
        )
