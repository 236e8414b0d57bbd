"""Where results go: a folder or a bucket, in which a partition is replaced whole or not at all."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from taxiway.errors import MachineError, NotFound, TaxiwayError, Unreachable, UsageError
from taxiway.locks import hold_home_lock, output_lock
from taxiway.partitions import busy, replacing
from taxiway.proxies import spare_loopback
from taxiway.scratch import private_folder
from taxiway.settings import Settings
from taxiway.sharing import is_seen, master, on_cluster, place_of
from taxiway.spark_paths import spark_path

_STAGING = ".taxiway-staging-"
_FILE = "part-0.parquet"
_ABANDONED = timedelta(days=1)


class Destination(Protocol):
    """New partitions on their way to where readers look for them."""

    @property
    def out(self) -> Path | str:
        """Where readers look."""

    @property
    def root(self) -> str:
        """What Spark is to write below."""

    @property
    def one_file(self) -> bool:
        """Whether a partition must be a single file."""

    def address(self, partition: str) -> str:
        """Where Spark is to write a partition (``colour=green/month=2023-01``), and reads it back."""

    def former(self, partition: str) -> Sequence[tuple[str, Any]]:
        """The files that would be replaced: name, and what pyarrow opens."""

    def publish(self, partition: str) -> None:
        """Put a partition that was written whole in the place of its former self."""


def open_destination(out: str | Path, settings: Settings) -> AbstractContextManager[Destination]:
    """Be the only one of this home to change a place of partitions while the block runs.

    Parameters
    ----------
    out : str or Path
        A folder, or ``s3a://bucket/folder``.
    settings : Settings

    Raises
    ------
    UsageError
        Executors do not see the folder, or nothing can be written to such an address.
    Refused
        Another process is changing it.
    MachineError, NotFound, Unreachable
        It cannot be written, or does not answer.
    """
    place = place_of(out)
    if isinstance(place, str):
        return _replacing_in_bucket(place, settings)
    if not is_seen(settings, place):
        raise UsageError(
            f"The executors of {master(settings)} do not see {place}",
            "Name a bucket as s3a://bucket/folder, or a folder under TAXIWAY_SHARED",
        )
    return replacing(place)


@dataclass(frozen=True)
class BucketStaging:
    """New partitions on their way into a bucket.

    A partition there is one object of a fixed name. A store puts an object in the place of another
    in one step, so that readers find the former one whole or the new one whole, whenever the process
    is killed.

    Parameters
    ----------
    out : str
        ``s3a://bucket/folder``, where readers look.
    root : str
        Where Spark writes first: a hidden place in the bucket, or in local mode a folder of this machine.
    files : fsspec.AbstractFileSystem
        The bucket's client.
    """

    out: str
    root: str
    files: Any
    one_file = True

    def address(self, partition: str) -> str:
        return f"{self.root}/{partition}"

    def former(self, partition: str) -> list[tuple[str, Any]]:
        with _told(self.out):
            return [(_name(path), self.files.open(path, "rb")) for path in self._objects(partition)]

    def publish(self, partition: str) -> None:
        target = f"{_key(self.out)}/{partition}/{_FILE}"
        with _told(self.out):
            if self.root.startswith("file://"):
                (written,) = Path(self.address(partition).removeprefix("file://")).glob("*.parquet")
                self.files.put_file(str(written), target)
            else:
                staged = self.files.ls(_key(self.address(partition)), detail=False)
                (source,) = [path for path in staged if path.endswith(".parquet")]
                self.files.cp_file(source, target)
            # Files of other names come from a copy of a folder that was made by hand.
            if others := [path for path in self._objects(partition) if _name(path) != _FILE]:
                self.files.rm(others)

    def _objects(self, partition: str) -> list[str]:
        """What readers take for files of a partition."""
        with suppress(FileNotFoundError):
            found = self.files.ls(f"{_key(self.out)}/{partition}", detail=False)
            return [path for path in found if not _name(path).startswith((".", "_")) and _name(path)]
        return []


@contextmanager
def _replacing_in_bucket(out: str, settings: Settings) -> Iterator[BucketStaging]:
    files = _client(out)
    mine = _STAGING + hashlib.sha256(f"{socket.gethostname()}:{settings.home}".encode()).hexdigest()[:8]
    # A bucket has no locks; those of one home at least keep out of each other's way.
    with hold_home_lock(settings, output_lock(out), lambda: busy(out)):
        try:
            _remove_leftovers(files, out, mine)
            if on_cluster(settings):
                yield BucketStaging(out, f"{out}/{mine}-{uuid4().hex[:8]}", files)
            else:
                with private_folder(settings) as folder:
                    yield BucketStaging(out, spark_path(folder), files)
        finally:
            # What an error leaves there, the next run removes.
            with suppress(TaxiwayError):
                _remove_leftovers(files, out, mine)


def _remove_leftovers(files: Any, out: str, mine: str) -> None:
    """Remove what was staged from this home, which the lock makes ours, and what others have not touched for a day."""
    bucket, _, folder = _key(out).partition("/")
    with _told(out):
        try:
            found = files.ls(f"{bucket}/{folder}".rstrip("/"), detail=False)
        except FileNotFoundError:
            # A bucket that is there and empty answers; a folder in it need not exist yet.
            files.ls(bucket, detail=False)
            return
        for place in (path for path in found if _name(path).startswith(_STAGING)):
            # SeaweedFS goes on listing a folder that has nothing in it any more: that is no object.
            times = [item["LastModified"] for item in files.find(place, detail=True).values() if "LastModified" in item]
            if times and (max(times) < datetime.now(UTC) - _ABANDONED or _name(place).startswith(mine)):
                files.rm(place, recursive=True)


def _client(out: str) -> Any:
    import fsspec

    spare_loopback()
    bounds = {"connect_timeout": 4.0, "read_timeout": 60.0, "retries": {"max_attempts": 2}}
    with _told(out):
        return fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False, config_kwargs=bounds)


@contextmanager
def _told(out: str) -> Iterator[None]:
    """What a store's client raises, in our words."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except PermissionError as error:
        raise MachineError(
            f"{out} may not be written with the key in use",
            "Check the AWS_ variables, or choose another place with --out",
        ) from error
    except FileNotFoundError as error:
        raise NotFound(f"There is no bucket {out}", "Make it, or correct --out") from error
    except (OSError, BotoCoreError, ClientError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise Unreachable(
            f"{out} does not answer ({reason})", "Check AWS_ENDPOINT_URL_S3 and the network, and run it again"
        ) from error


def _key(address: str) -> str:
    """``bucket/folder`` of an address."""
    return address.partition("://")[2].rstrip("/")


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] if not path.endswith("/") else ""
