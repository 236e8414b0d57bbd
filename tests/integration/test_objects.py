"""The program that carries a bucket's objects for backups, run against a real SeaweedFS."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from object_stores import S3Server, s3_server

FOLDER = Path(__file__).parents[2] / "images" / "create_s3_buckets"
PIECE = 8 * 2**20
OBJECTS = {
    "0/run/artifacts/MLmodel": b"flavors: {}\n",
    "0/run/artifacts/empty": b"",
    "0/run/artifacts/with a space, é and ü.txt": b"text",
    "0/run/artifacts/exactly": os.urandom(PIECE),
    "0/run/artifacts/large": os.urandom(2 * PIECE + 12_345),
    f"0/{'deep/' * 40}file": b"deep",
    **{f"1/many/{number:03}": os.urandom(number * 10) for number in range(300)},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    # Each bucket takes several of its volumes.
    with s3_server(tmp_path_factory.mktemp("s3"), "-volume.max=100") as found:
        yield found


class Bucket:
    """A bucket of its own, and the program's words on it."""

    def __init__(self, server: S3Server, name: str, secrets: Path) -> None:
        self.server, self.name, self.secrets = server, name, secrets
        self.endpoint = server.endpoint
        self.s3: Any = server.client()
        self.s3.create_bucket(Bucket=name)
        for file in ("s3_mlflow", "s3_trips"):
            text = f"[default]\naws_access_key_id={server.key}\naws_secret_access_key={server.secret}\n"
            (secrets / file).write_text(text, encoding="utf-8")

    def put(self, objects: dict[str, bytes]) -> None:
        for key, data in objects.items():
            self.s3.put_object(Bucket=self.name, Key=key, Body=data)

    def objects(self) -> dict[str, bytes]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return {key: self.s3.get_object(Bucket=self.name, Key=key)["Body"].read() for key in keys}

    @property
    def environment(self) -> dict[str, str]:
        return {
            "STACK_S3_ENDPOINT": self.endpoint,
            "STACK_S3_REGION": "us-east-1",
            "STACK_S3_BUCKET": self.name,
            "STACK_TRIPS_BUCKET": "trips",
            "S3_SERVER": "other",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def command(self, word: str) -> list[str]:
        return [sys.executable, "objects.py", word, str(self.secrets)]

    def run(self, word: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        told = {"cwd": FOLDER, "env": self.environment, "input": given}
        return subprocess.run(self.command(word), **told, capture_output=True, timeout=120)

    def succeed(self, word: str, given: bytes = b"") -> bytes:
        done = self.run(word, given)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout


@pytest.fixture
def bucket(server: S3Server, tmp_path: Path) -> Bucket:
    return Bucket(server, f"b-{uuid4().hex}", tmp_path)


def members(stream: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def names(keys: Any) -> bytes:
    return b"".join(json.dumps(key).encode() + b"\n" for key in keys)


def sum_of(data: bytes) -> list[Any]:
    return [len(data), hashlib.sha256(data).hexdigest()]


def test_what_is_exported_is_imported_elsewhere(bucket: Bucket, server: S3Server, tmp_path: Path) -> None:
    bucket.put(OBJECTS)
    stream = bucket.succeed("export")
    found = members(stream)
    total = sum(map(len, OBJECTS.values()))
    assert next(iter(found)) == "total.json"
    assert list(found)[-1] == "sums.json"
    assert json.loads(found.pop("total.json")) == {"objects": len(OBJECTS), "bytes": total}
    assert json.loads(found.pop("sums.json")) == {key: sum_of(data) for key, data in OBJECTS.items()}
    assert found == {f"objects/{key}": data for key, data in OBJECTS.items()}

    other = Bucket(server, f"{bucket.name}-other", tmp_path)
    assert json.loads(other.succeed("import", stream)) == {"objects": len(OBJECTS), "bytes": total}
    assert other.objects() == OBJECTS
    assert json.loads(other.succeed("count")) == {"objects": len(OBJECTS), "bytes": total}
    assert other.s3.list_multipart_uploads(Bucket=other.name).get("Uploads", []) == []


def test_an_object_that_is_replaced_while_it_is_read_has_its_own_code(bucket: Bucket) -> None:
    # More pieces than are asked for ahead.
    bucket.put({"large": os.urandom(20 * PIECE)})
    pipe = subprocess.PIPE
    with subprocess.Popen(
        bucket.command("export"), cwd=FOLDER, env=bucket.environment, stdout=pipe, stderr=pipe
    ) as export:
        assert export.stdout is not None
        export.stdout.read(PIECE)
        bucket.put({"large": os.urandom(20 * PIECE)})
        _, said = export.communicate(timeout=60)
    assert (export.returncode, said) == (3, b"objects: large was replaced while it was read\n")


def test_an_empty_bucket(bucket: Bucket) -> None:
    assert list(members(bucket.succeed("export"))) == ["total.json", "sums.json"]
    assert json.loads(bucket.succeed("count")) == {"objects": 0, "bytes": 0}


def test_what_is_there_is_read_back_and_what_is_not_named_goes(bucket: Bucket) -> None:
    objects = {"a/kept": b"1", "a/gone": b"2", "b é": b"3" * (PIECE + 1)}
    bucket.put(objects)
    said = [json.loads(line) for line in bucket.succeed("check", names(["a/kept", "b é", "never"])).splitlines()]
    assert said == [[key, *sum_of(objects[key])] for key in ("a/kept", "b é")]
    assert json.loads(bucket.succeed("prune", names(["a/kept", "b é"]))) == {"removed": 1}
    assert set(bucket.objects()) == {"a/kept", "b é"}


class Distorted:
    """What lies between the program and its server, and alters what the server answers."""

    def __init__(self, server: S3Server, alter: Callable[[str, str, dict[str, str], bytes], bytes]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                connection = HTTPConnection(server.endpoint.removeprefix("http://"), timeout=60)
                connection.request(self.command, self.path, data, dict(self.headers))
                with connection.getresponse() as got:
                    headers = dict(got.getheaders())
                    body = alter(self.command, self.path, headers, got.read())
                connection.close()
                self.send_response(got.status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    if name not in ("Transfer-Encoding", "Connection"):
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815  # http.server looks for them

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as its parent calls it
                """Say nothing."""

        self._handler = Handler

    @contextmanager
    def listening(self) -> Iterator[str]:
        """The address under which it stands."""
        with ThreadingHTTPServer(("127.0.0.1", 0), self._handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()


def without_sums(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """As of a bucket whose objects are encrypted with a key of the server's own."""
    if method == "PUT" and "partNumber" not in path:
        headers["ETag"] = '"of another kind"'
        headers["Etag"] = headers["ETag"]
    return body


def damaged(name: str) -> Callable[[str, str, dict[str, str], bytes], bytes]:
    """As of a server that keeps an object otherwise than it came."""

    def alter(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
        without_sums(method, path, headers, body)
        return bytes(len(body)) if method == "GET" and path.endswith(f"/{name}") else body

    return alter


def test_what_the_server_does_not_confirm_is_read_back(bucket: Bucket, server: S3Server, tmp_path: Path) -> None:
    bucket.put(OBJECTS)
    stream = bucket.succeed("export")
    other = Bucket(server, f"{bucket.name}-other", tmp_path)
    with Distorted(server, without_sums).listening() as address:
        other.endpoint = address
        assert json.loads(other.succeed("import", stream))["objects"] == len(OBJECTS)
    assert other.objects() == OBJECTS
    for name in ("MLmodel", "large"):
        with Distorted(server, damaged(name)).listening() as address:
            other.endpoint = address
            done = other.run("import", stream)
        assert (done.returncode, done.stdout) == (1, b"")
        assert (
            done.stderr == f"objects: the S3 server does not have what it was given: 0/run/artifacts/{name}\n".encode()
        )


def test_a_stream_that_was_cut_off_leaves_no_upload_open(bucket: Bucket) -> None:
    bucket.put({"large": os.urandom(3 * PIECE)})
    stream = bucket.succeed("export")
    done = bucket.run("import", stream[: len(stream) // 2])
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"objects: ")
    assert bucket.s3.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []) == []


def test_what_goes_wrong_is_one_line(bucket: Bucket) -> None:
    bucket.s3.delete_bucket(Bucket=bucket.name)
    done = bucket.run("export")
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"NoSuchBucket" in done.stderr
    assert bucket.run("nonsense").returncode == 2


def test_it_holds_until_its_input_ends(bucket: Bucket) -> None:
    command = [sys.executable, "objects.py", "hold"]
    with subprocess.Popen(command, cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(20) == 0
