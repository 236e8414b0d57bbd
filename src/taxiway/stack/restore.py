"""``taxiway stack restore``: a backup put in the place of what the stack holds.

Nothing that is there is touched before the new is whole: the objects are put beside the present ones, both
databases are restored beside the present ones and looked at, and then take their places in one step. Files that
were logged again since the backup are put back after that step, and what nobody names any more goes when MLflow
has been seen to work. A restore that is broken off before the step has changed nothing but the room that it took;
after it, it has to be run again. Either way the databases that it has left behind tell.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from taxiway.errors import BadData, Refused, TaxiwayError
from taxiway.progress import Progress, Silent
from taxiway.settings import Settings
from taxiway.stack.archive import BLOCK, Manifest, Member, Tap, open_archive, verify
from taxiway.stack.backup import OBJECTS, member_of
from taxiway.stack.contents import TABLES
from taxiway.stack.databases import (
    DATABASES,
    discard,
    prepare,
    restore_aside,
    row_counts,
    server_version,
    swap,
    unfinished,
)
from taxiway.stack.docker import Docker, find_docker
from taxiway.stack.running import Job, changing
from taxiway.stack.services import SERVICES
from taxiway.stack.status import mlflow_version
from taxiway.stack.streams import bucket_job, check_running, objects
from taxiway.stack.upgrading import beside, migrate

_PUTTING, _RESTORING = "Putting the objects", "Restoring the databases"
_COMPARING, _STARTING = "Comparing with the bucket", "Starting MLflow"
_SERVER = "mlflow_server"
_STOPPING, _PATIENCE = 90.0, 180.0


@dataclass(frozen=True)
class Plan:
    """What a restore would put in the place of what.

    Parameters
    ----------
    path : Path
    manifest : Manifest
        Of the backup, every sum of which has been checked.
    present : mapping of str to int
        What the stack holds: rows of the database, ``objects`` and ``object_bytes``.
    mlflow : str
        The version that the stack has.
    unfinished : str
        What an earlier restore, which did not end, was restoring; empty when there is none.
    """

    path: Path
    manifest: Manifest
    present: Mapping[str, int]
    mlflow: str
    unfinished: str = ""

    @property
    def empty(self) -> bool:
        """Whether nothing in the stack would be lost: objects that a restore has left are none of its models."""
        rows = (self.present["runs"], self.present["registered_models"], self.present["logged_models"])
        objects_of_its_own = 0 if self.unfinished else self.present["objects"]
        # MLflow makes one experiment by itself.
        return not any(rows) and self.present["experiments"] <= 1 and not objects_of_its_own


@dataclass(frozen=True)
class Restored:
    """A restore that was carried out.

    Parameters
    ----------
    plan : Plan
    removed : int
        Objects that were there before and are not in the backup.
    seconds : float
        How long it took, the plan not included.
    """

    plan: Plan
    removed: int
    seconds: float


def check_backup(path: Path, progress: Progress | None = None) -> Manifest:
    """Read a backup from end to end, compare every sum, and change nothing.

    Raises
    ------
    NotFound
        There is no such file.
    BadData
        It is no backup, or is damaged.
    """
    return verify(path, progress or Silent())


def plan_restore(settings: Settings, path: Path, progress: Progress | None = None) -> Plan:
    """Check a backup and look at what the stack holds; changes nothing.

    Parameters
    ----------
    settings : Settings
    path : Path
        From `taxiway.stack.backup.backup`, on this machine or another one, with this S3 server or another one.
    progress : Progress, optional

    Returns
    -------
    Plan

    Raises
    ------
    NotFound
        There is no such file, or the stack or one of its services is not there.
    BadData
        The file is no backup, or is damaged.
    Refused
        It is of a later PostgreSQL or MLflow than the stack's.
    """
    manifest = verify(path, progress or Silent())
    docker = find_docker(settings)
    check_running(docker)
    # Where a restore was broken off, the server is stopped; its image says the same.
    mlflow = mlflow_version(docker) or _image_version(docker)
    _check_versions(docker, manifest, mlflow)
    with bucket_job(docker) as job, objects(docker, job, "count", what="look into the bucket") as process:
        bucket = json.loads(_output(process))
    present = {**row_counts(docker), "objects": bucket["objects"], "object_bytes": bucket["bytes"]}
    return Plan(path, manifest, present, mlflow, unfinished(docker))


def restore(settings: Settings, plan: Plan, progress: Progress | None = None, *, replace: bool = False) -> Restored:
    """Carry out a plan. MLflow is stopped meanwhile, and started again however this ends.

    Parameters
    ----------
    settings : Settings
    plan : Plan
        From `plan_restore`.
    progress : Progress, optional
    replace : bool
        Whether what the stack holds may go.

    Returns
    -------
    Restored

    Raises
    ------
    Refused
        The stack is not empty and `replace` is not set, or another command is changing it.
    TaxiwayError
        Something failed. Unless that was in the last seconds, what was there before is there still;
        the restore can be run again.
    """
    began, watch = time.monotonic(), progress or Silent()
    if not plan.empty and not replace:
        raise Refused(
            f"The stack is not empty: {describe(plan.present)}", "Add --replace to put the backup in their place"
        )
    docker = find_docker(settings)
    with changing(settings), bucket_job(docker) as job:
        docker.compose("stop", _SERVER, patience=_STOPPING)
        try:
            _restore(docker, job, plan, watch)
        except BaseException:
            with suppress(TaxiwayError):  # what is told is why the restore ended
                _start(docker, settings, watch)
            raise
        _start(docker, settings, watch)
        removed = _prune(docker, job, plan)
        # Last: what is left of a restore says that it has not ended.
        discard(docker)
    return Restored(plan, removed, time.monotonic() - began)


def describe(counts: Mapping[str, int]) -> str:
    """What a stack or a backup holds, in a few words."""
    words = [f"{counts[name]:,} {name.replace('_', ' ')}" for name in TABLES if counts[name]]
    return ", ".join([*words, f"{counts['objects']:,} objects ({counts['object_bytes'] / 1e6:,.1f} MB)"])


def _restore(docker: Docker, job: str, plan: Plan, watch: Progress) -> None:
    """Everything between stopping MLflow and starting it."""
    note = f"{plan.path.name} ({datetime.now(UTC):%Y-%m-%d %H:%M} UTC)"
    prepare(docker, note)
    wanted = {name: member for name, member in plan.manifest.members.items() if name.startswith(OBJECTS)}
    present = _sums(docker, job, wanted, watch) if plan.present["objects"] else {}
    # A file that was logged again since the backup: until the databases change places it belongs to the present one.
    changed = {name: member for name, member in wanted.items() if present.get(name, member) != member}
    absent = {name: member for name, member in wanted.items() if name not in present}
    _put_objects(docker, job, plan, absent, watch)
    _restore_databases(docker, plan, watch)
    swap(docker, note)
    _put_objects(docker, job, plan, changed, watch)
    if plan.manifest.mlflow != plan.mlflow:
        migrate(docker)


def _start(docker: Docker, settings: Settings, watch: Progress) -> None:
    watch.begin(_STARTING)
    Job(docker, settings, None, _PATIENCE).resume(_SERVER)
    watch.end(_STARTING)


def _put_objects(docker: Docker, job: str, plan: Plan, wanted: Mapping[str, Member], watch: Progress) -> None:
    """Put some of the backup's objects into the bucket; the S3 server has to confirm each of them."""
    if not wanted:
        return
    sums: dict[str, Member] = {}
    with (
        open_archive(plan.path, watch, _PUTTING) as members,
        objects(docker, job, "import", what="write to the bucket", stdin=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdin, mode="w|", format=tarfile.PAX_FORMAT, bufsize=BLOCK) as out,
    ):
        for name, content, size in members:
            if name in wanted:
                header = tarfile.TarInfo(name)
                header.size = size
                tap = Tap(content)
                out.addfile(header, tap)
                sums[name] = tap.member
    # The file has been checked before; on a disk that fails it may be another one by now.
    for name, member in wanted.items():
        if sums.get(name) != member:
            raise _damaged(plan, name)


def _sums(docker: Docker, job: str, wanted: Mapping[str, Member], watch: Progress) -> dict[str, Member]:
    """Size and sum of those of the wanted objects that are in the bucket, each of them read."""
    found = {}
    watch.begin(_COMPARING, sum(member.bytes for member in wanted.values()), "B")
    with _names(wanted) as names, objects(docker, job, "check", what="read the bucket", stdin=names) as process:
        for line in _lines(process):
            key, size, sha256 = json.loads(line)
            found[f"{OBJECTS}{key}"] = Member(size, sha256)
            watch.advance(_COMPARING, size)
    watch.end(_COMPARING)
    return found


def _restore_databases(docker: Docker, plan: Plan, watch: Progress) -> None:
    watch.begin(_RESTORING, len(DATABASES))
    names = {member_of(database): database for database in DATABASES}
    with open_archive(plan.path, Silent(), _RESTORING) as members:
        for name, content, _ in members:
            if name in names:
                tap = Tap(content)
                restore_aside(docker, names.pop(name), tap)
                if tap.member != plan.manifest.members[name]:
                    raise _damaged(plan, name)
                watch.advance(_RESTORING)
            if not names:
                break
    if names:
        raise BadData(f"{plan.path} has no {next(iter(names))}", "Use another copy of it")
    found = row_counts(docker, aside=True)
    for table in TABLES:
        if found[table] != plan.manifest.counts[table]:
            raise BadData(
                f"{found[table]} {table} were restored, and {plan.manifest.counts[table]} were backed up",
                "Use another copy of it",
            )
    watch.end(_RESTORING)


def _prune(docker: Docker, job: str, plan: Plan) -> int:
    """Remove the objects of what was replaced: nothing names them any more."""
    with (
        _names(plan.manifest.members) as names,
        objects(docker, job, "prune", what="tidy up the bucket", stdin=names) as process,
    ):
        removed: int = json.loads(_output(process))["removed"]
    return removed


@contextmanager
def _names(members: Iterable[str]) -> Iterator[IO[bytes]]:
    """A file with the keys of objects, as programs in the bucket job's container read them."""
    with tempfile.TemporaryFile() as file:
        for name in members:
            if name.startswith(OBJECTS):
                file.write(json.dumps(name.removeprefix(OBJECTS)).encode() + b"\n")
        file.flush()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        yield file


def _check_versions(docker: Docker, manifest: Manifest, mlflow: str) -> None:
    pairs = (("PostgreSQL", manifest.postgresql, server_version(docker), 1), ("MLflow", manifest.mlflow, mlflow, 2))
    for what, theirs, ours, parts in pairs:
        if "unknown" not in (theirs, ours) and _numbers(theirs, parts) > _numbers(ours, parts):
            raise Refused(
                f"The backup is of {what} {theirs}, and the stack has {ours}",
                "Bring the stack up to date: taxiway stack upgrade",
            )


def _image_version(docker: Docker) -> str:
    said = beside(docker, _SERVER, shlex.join(SERVICES[_SERVER].version), _PATIENCE)
    found = re.search(r"\d+\.\d+\.\d+", said)
    return found[0] if found else "unknown"


def _numbers(version: str, parts: int = 3) -> tuple[int, ...]:
    """A version's first numbers; none of one that is not known, which comes before all others."""
    return tuple(int(part) for part in version.split(".")[:parts] if part.isdecimal())


def _damaged(plan: Plan, name: str) -> BadData:
    return BadData(
        f"{plan.path}: {name} was read differently than before",
        "Look at the disk that it is on, and use another copy of it",
    )


def _output(process: subprocess.Popen[bytes]) -> bytes:
    return b"".join(_lines(process))


def _lines(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdout is None:
        raise TypeError("no pipe was asked for")
    return process.stdout
