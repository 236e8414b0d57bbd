"""The artifact store ``proxied-s3``: a bucket that clients reach through the server alone.

With MLflow 3.17's own ``s3://`` a server tells clients to fetch from the address of S3 itself and has no
switch against it; on networks that only the server can reach, their downloads hang. MLflow decides by the
classes that a repository inherits from, and this one inherits neither ``MultipartDownloadMixin`` nor
``MultipartUploadMixin``. It never starts a multipart upload either: an upload that is cut off, by whatever
end, leaves nothing in the bucket.
"""

from __future__ import annotations

import asyncio
import errno
import posixpath
import shutil
import tempfile
from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.store.artifact.artifact_repo import ArtifactRepository, StreamUploadMixin

from taxiway_mlflow.bucket import SCHEME, StoreFault, bucket

_CHUNK = 1 << 20
_IN_MEMORY = 4 << 20  # larger uploads are spooled to a file in TMPDIR
_BATCH = 1000  # objects that S3 deletes in one request


class ProxiedS3Repository(ArtifactRepository, StreamUploadMixin):
    """The artifacts of this server, and of no other place."""

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        self._bucket = bucket()
        # A location in the database may have been written by any client.
        if artifact_uri.rstrip("/") != f"{SCHEME}://{self._bucket.name}":
            raise MlflowException.invalid_parameter_value(f"'{artifact_uri}' is not this server's artifact store.")
        super().__init__(artifact_uri, tracking_uri, registry_uri)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        with Path(local_file).open("rb") as file:
            self._put(file, _key(local_file, artifact_path))

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        folder = Path(local_dir)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            below = file.parent.relative_to(folder).as_posix()
            self.log_artifact(str(file), posixpath.normpath(posixpath.join(artifact_path or "", below)))

    def log_artifact_from_stream(
        self, stream: BinaryIO, artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        with _spool() as file:
            shutil.copyfileobj(stream, file, _CHUNK)
            self._put(file, _key(artifact_file_name, artifact_path))

    async def log_artifact_from_async_stream(
        self, chunks: AsyncIterable[bytes], artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        with _spool() as file:
            await _fill(file, chunks)
            await asyncio.to_thread(self._put, file, _key(artifact_file_name, artifact_path))

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        prefix = f"{path.rstrip('/')}/" if path else ""
        found = []
        for page in self._bucket.ask(lambda s3: list(self._pages(s3, Prefix=prefix, Delimiter="/"))):
            found += [FileInfo(entry["Prefix"].rstrip("/"), True, None) for entry in page.get("CommonPrefixes", [])]
            # A key that ends with a slash marks a folder; some servers list them.
            files = [entry for entry in page.get("Contents", []) if not entry["Key"].endswith("/")]
            found += [FileInfo(entry["Key"], False, entry["Size"]) for entry in files]
        return sorted(found, key=lambda info: info.path)

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        """Fetch one file: MLflow's own would fetch a whole folder into the spool, and then fail to send it."""
        target = self._create_download_destination(artifact_path, dst_path or tempfile.mkdtemp())
        self._download_file(artifact_path, target)
        return str(target)

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        if not artifact_path:
            raise MlflowException.invalid_parameter_value("Name what to delete: the whole store cannot be.")
        path = artifact_path.rstrip("/")
        pages = self._bucket.ask(lambda s3: list(self._pages(s3, Prefix=path)))
        listed = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        # The listing of `1/ab` holds `1/abc` too.
        keys = [key for key in listed if key == path or key.startswith(f"{path}/")]
        for first in range(0, len(keys), _BATCH):
            self._delete(keys[first : first + _BATCH])

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        def fetch(s3: Any) -> None:
            body = s3.get_object(Bucket=self._bucket.name, Key=remote_file_path)["Body"]
            with _room(), Path(local_path).open("wb") as file:
                shutil.copyfileobj(body, file, _CHUNK)

        self._bucket.ask(fetch)

    def _put(self, file: IO[bytes], key: str) -> None:
        def put(s3: Any) -> None:
            file.seek(0)
            s3.put_object(Bucket=self._bucket.name, Key=key, Body=file)

        self._bucket.ask(put)

    def _pages(self, s3: Any, **words: str) -> Iterator[dict[str, Any]]:
        yield from s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket.name, **words)

    def _delete(self, keys: list[str]) -> None:
        objects = [{"Key": key} for key in keys]
        answer = self._bucket.ask(lambda s3: s3.delete_objects(Bucket=self._bucket.name, Delete={"Objects": objects}))
        # S3 says 200 to a deletion that it refused in part.
        for refused in answer.get("Errors", [])[:1]:
            raise StoreFault(f"The artifact store kept {refused['Key']} ({refused.get('Code')}); delete it again.")


async def _fill(file: IO[bytes], chunks: AsyncIterable[bytes]) -> None:
    from starlette.requests import ClientDisconnect

    waiting: list[bytes] = []
    try:
        async for chunk in chunks:
            waiting.append(chunk)
            if sum(map(len, waiting)) >= _CHUNK:
                await asyncio.to_thread(file.writelines, waiting)
                waiting = []
    except ClientDisconnect as error:
        # Nobody hears it; but what nobody catches is 150 lines in the log.
        raise MlflowException("The upload was cut off.", error_code=BAD_REQUEST) from error
    await asyncio.to_thread(file.writelines, waiting)


def _key(name: str, artifact_path: str | None) -> str:
    return posixpath.join(artifact_path or "", posixpath.basename(name))


@contextmanager
def _spool() -> Iterator[IO[bytes]]:
    """A place for an upload until it is whole; it has no name on the disk, so that a crash leaves nothing."""
    with _room(), tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        yield file


@contextmanager
def _room() -> Iterator[None]:
    """Call a full disk by its name."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = tempfile.gettempdir()
        raise StoreFault(f"The MLflow server's volume {place} is full; make room on its disk.") from error
