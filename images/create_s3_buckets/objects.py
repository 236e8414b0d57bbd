"""The objects of MLflow's bucket as one stream: what `taxiway stack backup` and `restore` run beside the S3 server.

::

    objects.py export    the bucket as a tar stream on standard output
    objects.py import    a tar stream on standard input, into the bucket, which has to confirm each object
    objects.py check     key, size and SHA-256 of the objects that standard input names, read back
    objects.py count     how many objects there are, and of what size
    objects.py prune     remove every object that standard input does not name
    objects.py hold      say "ready" and wait for the end of standard input: the other words run beside this one

Names are JSON texts, one a line, and so are the documents that are answered. The folder of the secret files may
follow; it is /run/secrets unless said.
An export begins with ``total.json``, so that whoever reads it knows how much will come, and ends with
``sums.json``, the size and the SHA-256 of each object as they were read from the server: a stream without it
was cut off. The objects between them are named ``objects/<key>``. Memory does not grow with their bytes: at
most a few pieces of them are on their way at any time.
An import takes nothing for granted: the server's own MD5 of an object has to be the right one, an object of several
pieces or without an MD5 is read back, and all of them are listed at the end.
The exit code is 3 when an object was replaced or removed while it was read.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import socket
import sys
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import URLLib3Session
from place import Failure, Place, read_place

PREFIX = "objects/"
CHANGED = 3
"""The exit code that says: ask again."""
SECRETS = "/run/secrets"
TOTAL, SUMS = "total.json", "sums.json"
PIECE = 8 * 2**20
"""Bytes of an object that are asked for, or sent, in one request."""

_AT_ONCE = 8
_SENT_AT_ONCE = 32  # a server takes long to make sure of a small object, and does it for many at a time
_ON_THE_WAY = 64 * 2**20  # bytes that wait to be sent
_MOST_PARTS = 9_000  # S3 takes 10,000
_TRIES = 3

Item = TypeVar("Item")
Result = TypeVar("Result")


class Changed(Exception):
    """An object was replaced or removed while it was read."""


@dataclass(frozen=True)
class Object:
    """An object as the bucket lists it."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True)
class Piece:
    """A part of an object; `data` is None when the object has gone meanwhile."""

    object: Object
    start: int
    data: bytes | None = None


class Bucket:
    """MLflow's bucket, opened with MLflow's own key, which is good for this bucket alone."""

    def __init__(self, place: Place) -> None:
        tenant = place.tenants[0]
        self.name = tenant.bucket
        self.client = place.client("s3", tenant.key)
        self._address = f"{place.endpoint.rstrip('/')}/{tenant.bucket}"
        self._signer = S3SigV4Auth(Credentials(tenant.key.id, tenant.key.secret), "s3", place.region)
        trusted = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE") or True
        # Without it the body of a small object waits 40 ms for the server to acknowledge its headers.
        at_once = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        self._http = URLLib3Session(
            verify=trusted, timeout=(5, 60), max_pool_connections=_SENT_AT_ONCE, socket_options=at_once
        )

    def objects(self) -> list[Object]:
        """Every object, by key; the markers by which some servers keep empty folders are none."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        listed = (item for page in pages for item in page.get("Contents", ()))
        found = [Object(item["Key"], item["Size"], item["ETag"]) for item in listed if not item["Key"].endswith("/")]
        return sorted(found, key=lambda item: item.key)

    def read(self, piece: Piece) -> Piece:
        """The piece with its bytes, or as it is when the object has gone."""
        size, headers = piece.object.size, {}
        if size > PIECE:
            # All pieces of one object are of one version of it, or none is.
            last = min(piece.start + PIECE, size) - 1
            headers = {"Range": f"bytes={piece.start}-{last}", "If-Match": piece.object.etag}
        answer = self._ask("GET", piece.object.key, headers=headers)
        if answer.status_code == 412:
            raise Changed(f"{piece.object.key} was replaced while it was read")
        return piece if answer.status_code == 404 else Piece(piece.object, piece.start, answer.content)

    def write(self, key: str, data: bytes) -> None:
        """Put an object of one piece; what the server has then is this, or a failure."""
        etag = self._ask("PUT", key, data).headers.get("ETag", "")
        if not is_sum_of(etag, data) and self.read(Piece(Object(key, len(data), etag), 0)).data != data:
            raise not_kept(key)

    def delete(self, key: str) -> None:
        self._ask("DELETE", key)

    def _ask(self, method: str, key: str, data: bytes = b"", headers: dict[str, str] | None = None) -> AWSResponse:
        """Send one request with the parts that boto3's client is made of, and a few tries.

        A bucket of models holds many small objects, and the client itself (1.43) takes more than twice the
        processor's time for each.
        """
        for left in reversed(range(_TRIES)):
            request = AWSRequest(method, f"{self._address}/{quote(key, safe='/~')}", headers, data)
            self._signer.add_auth(request)
            try:
                answer = self._http.send(request.prepare())
            except BotoCoreError:
                if left:
                    continue
                raise
            if answer.status_code < 500 or not left:
                break
        if answer.status_code >= 300 and not (method == "GET" and answer.status_code in (404, 412)):
            code = re.search(rb"<Code>(\w+)</Code>", answer.content)
            why = code[1].decode() if code else "nothing more"
            raise Failure(f"the S3 server answered {answer.status_code} {why} to {method} {key}")
        return answer


def is_sum_of(etag: str, data: bytes) -> bool:
    """Whether a server's mark of what it was sent in one request is its MD5, as most servers have it."""
    return etag.strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest()


def not_kept(key: str) -> Failure:
    """What an import ends with whose objects are not in the bucket as they were in the stream."""
    return Failure(f"the S3 server does not have what it was given: {key}")


def ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The results in the order of the items, a few of them worked on before they are asked for."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= _AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def pieces_of(objects: Iterable[Object]) -> Iterator[Piece]:
    """What has to be asked for to have all the objects; an empty object is one piece."""
    for item in objects:
        for start in range(0, max(item.size, 1), PIECE):
            yield Piece(item, start)


class Content:
    """One object's bytes as a file to read, piece after piece, its sum taken on the way."""

    def __init__(self, first: Piece, following: Iterator[Piece]) -> None:
        self._data = first.data or b""
        self._following = following
        # What is read in one request is what the server gave; the listing may be older than it.
        self.size = len(self._data) if first.object.size <= PIECE else first.object.size
        self._left = self.size
        self._at = 0
        self.sum = hashlib.sha256()

    def read(self, count: int = PIECE) -> bytes:
        """Up to `count` bytes, fewer at the end of a piece: a whole number of tarfile's blocks makes one."""
        if self._at == len(self._data) and self._left:
            piece = next(self._following)
            if not piece.data:
                raise Changed(f"{piece.object.key} was removed while it was read")
            self._data, self._at = piece.data, 0
        block = self._data[self._at : self._at + min(count, self._left)]
        self._at += len(block)
        self._left -= len(block)
        self.sum.update(block)
        return block

    def read_all(self) -> str:
        """The SHA-256 of everything, in hexadecimal digits."""
        while self.read():
            pass
        return self.sum.hexdigest()


def contents(bucket: Bucket, objects: Iterable[Object]) -> Iterator[tuple[str, Content]]:
    """Key and content of each object that is still there; read each content before the next is asked for."""
    read = ahead(bucket.read, pieces_of(objects))
    for first in read:
        if first.start:
            continue  # the rest of an object that had gone when its first piece was asked for
        if first.data is not None:
            yield first.object.key, Content(first, read)


def export_objects(bucket: Bucket, out: IO[bytes]) -> None:
    """Write all objects as a tar stream."""
    objects = bucket.objects()
    sums: dict[str, tuple[int, str]] = {}
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, bufsize=2**20, copybufsize=2**20) as tar:
        _add(tar, TOTAL, {"objects": len(objects), "bytes": sum(item.size for item in objects)})
        for key, content in contents(bucket, objects):
            member = tarfile.TarInfo(PREFIX + key)
            member.size = content.size
            tar.addfile(member, content)  # type: ignore[arg-type]  # typed as a whole file, of which tarfile calls `read` alone
            sums[key] = (content.size, content.sum.hexdigest())
        _add(tar, SUMS, sums)


def _add(tar: tarfile.TarFile, name: str, document: object) -> None:
    data = json.dumps(document).encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


class Sender:
    """Sends several pieces at once, as many as memory allows; the first failure ends it."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._waiting: deque[tuple[Future[Any], int]] = deque()
        self._bytes = 0

    def send(self, function: Callable[[Item, bytes], Result], item: Item, data: bytes) -> Future[Result]:
        while len(self._waiting) >= _SENT_AT_ONCE or (self._waiting and self._bytes + len(data) > _ON_THE_WAY):
            self._await_first()
        future = self._pool.submit(function, item, data)
        self._waiting.append((future, len(data)))
        self._bytes += len(data)
        return future

    def finish(self) -> None:
        while self._waiting:
            self._await_first()

    def _await_first(self) -> None:
        future, size = self._waiting.popleft()
        self._bytes -= size
        future.result()


def import_objects(bucket: Bucket, source: IO[bytes], out: IO[bytes]) -> None:
    """Put every object of a tar stream into the bucket, and say how many there were."""
    sizes: dict[str, int] = {}
    with (
        ThreadPoolExecutor(_SENT_AT_ONCE) as pool,
        tarfile.open(fileobj=source, mode="r|", bufsize=2**20) as tar,
    ):
        sender = Sender(pool)
        for member in tar:
            if not member.name.startswith(PREFIX):
                continue
            key, content = member.name.removeprefix(PREFIX), tar.extractfile(member)
            assert content is not None  # noqa: S101  # for mypy: None is no file, and export_objects writes files alone
            if member.size <= PIECE:
                sender.send(bucket.write, key, content.read())
            else:
                _send_parts(bucket, sender, key, member.size, content)
            sizes[key] = member.size
        sender.finish()
    listed = {item.key: item.size for item in bucket.objects()}
    for key, size in sizes.items():
        if listed.get(key) != size:
            raise not_kept(key)
    _say(out, {"objects": len(sizes), "bytes": sum(sizes.values())})


def _send_parts(bucket: Bucket, sender: Sender, key: str, size: int, content: IO[bytes]) -> None:
    place = {"Bucket": bucket.name, "Key": key}
    place["UploadId"] = bucket.client.create_multipart_upload(**place)["UploadId"]
    length = max(PIECE, math.ceil(size / _MOST_PARTS))

    def send_part(number: int, data: bytes) -> dict[str, Any]:
        sent = bucket.client.upload_part(**place, PartNumber=number, Body=data)
        # The server asks for the checksums again that the client has sent with the parts.
        checks = {name: value for name, value in sent.items() if name.startswith("Checksum") and name != "ChecksumType"}
        return {"PartNumber": number, "ETag": sent["ETag"], **checks}

    try:
        whole, waiting = hashlib.sha256(), []
        for number in range(1, math.ceil(size / length) + 1):
            data = content.read(length)
            whole.update(data)
            waiting.append(sender.send(send_part, number, data))
        parts = {"Parts": [part.result() for part in waiting]}
        etag = bucket.client.complete_multipart_upload(**place, MultipartUpload=parts)["ETag"]
    except BaseException:
        bucket.client.abort_multipart_upload(**place)
        raise
    if [kept.read_all() for _, kept in contents(bucket, [Object(key, size, etag)])] != [whole.hexdigest()]:
        raise not_kept(key)


def check_objects(bucket: Bucket, source: IO[bytes], out: IO[bytes]) -> None:
    """Read the named objects back, and say the key, the size and the sum of each."""
    named = _names(source)
    for key, content in contents(bucket, (item for item in bucket.objects() if item.key in named)):
        _say(out, [key, content.size, content.read_all()])


def count_objects(bucket: Bucket, out: IO[bytes]) -> None:
    """Say how many objects there are, and of what size together."""
    objects = bucket.objects()
    _say(out, {"objects": len(objects), "bytes": sum(item.size for item in objects)})


def prune_objects(bucket: Bucket, source: IO[bytes], out: IO[bytes]) -> None:
    """Remove what is not named, and say how many that were."""
    kept = _names(source)
    extra = [item.key for item in bucket.objects() if item.key not in kept]
    _say(out, {"removed": sum(1 for _ in ahead(bucket.delete, extra))})


def hold(source: IO[bytes], out: IO[bytes]) -> None:
    """Keep the container for as long as whoever started it lives.

    What its first process writes goes into Docker's log as well, which a bucket would fill; what a program
    beside it writes does not.
    """
    out.write(b"ready\n")
    out.flush()
    source.read()


def _names(source: IO[bytes]) -> set[str]:
    return {json.loads(line) for line in source}


def _say(out: IO[bytes], document: object) -> None:
    out.write(json.dumps(document).encode() + b"\n")


def main(word: str = "", folder: str = SECRETS) -> int:
    """Do what the word says; what goes wrong is one line on standard error."""
    source, out = sys.stdin.buffer, sys.stdout.buffer
    work: dict[str, Callable[[Bucket], None]] = {
        "export": lambda bucket: export_objects(bucket, out),
        "import": lambda bucket: import_objects(bucket, source, out),
        "check": lambda bucket: check_objects(bucket, source, out),
        "count": lambda bucket: count_objects(bucket, out),
        "prune": lambda bucket: prune_objects(bucket, source, out),
    }
    if word == "hold":
        hold(source, out)
        return 0
    if word not in work:
        sys.stderr.write(f"usage: objects.py {' | '.join(work)} | hold\n")
        return 2
    try:
        work[word](Bucket(read_place(os.environ, Path(folder))))
        out.flush()
    except Changed as error:
        sys.stderr.write(f"objects: {error}\n")
        return CHANGED
    except (Failure, BotoCoreError, ClientError, OSError, tarfile.TarError, ValueError) as error:
        sys.stderr.write(f"objects: {' '.join(str(error).split())}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
