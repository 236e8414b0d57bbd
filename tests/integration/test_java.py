"""Java is installed for the user when there is none: the real library, from a server on loopback."""

from __future__ import annotations

import io
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from jdk.client.adoptium import AdoptiumClient

from taxiway.errors import MachineError
from taxiway.java import ensure_java, find_java
from taxiway.progress import Silent
from taxiway.settings import Settings

RELEASE = b'JAVA_VERSION="17.0.19"\nMODULES="java.base jdk.incubator.vector"\n'


class Notes(Silent):
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)


def archive() -> bytes:
    """A Java as it is published: one folder in a compressed archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in {"release": RELEASE, "bin/java": b"#!/bin/sh\n"}.items():
            entry = tarfile.TarInfo(f"jdk-17.0.19+1/{name}")
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """What the publisher of Java has: an archive by default."""
    files = {"/jdk.tar.gz": archive()}

    class Answer(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            body = files.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/jdk.tar.gz"
        monkeypatch.setattr(AdoptiumClient, "get_download_url", lambda *args, **options: address)
        yield files
        server.shutdown()


@pytest.fixture(autouse=True)
def no_java(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """A machine without Java, on which only the home is looked into."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(settings.home.parent))
    monkeypatch.setattr("taxiway.java._KNOWN_FOLDERS", ())
    monkeypatch.setattr("taxiway.java.sys.platform", "linux")


@pytest.mark.usefixtures("published")
def test_java_is_installed_once_into_the_home(settings: Settings) -> None:
    before = tempfile.gettempdir()
    watch = Notes()
    found = ensure_java(settings, watch)
    assert (found.home, found.version) == (settings.home / "java" / "jdk-17.0.19+1", "17.0.19")
    assert watch.said == [f"No Java 17 was found; installing Java 17 into {settings.home / 'java'}"]
    assert {path.name for path in (settings.home / "java").iterdir()} <= {"jdk-17.0.19+1", "install.lock"}
    assert tempfile.gettempdir() == before
    assert ensure_java(settings, watch).home == find_java(settings).home == found.home
    assert len(watch.said) == 1


def test_no_download_leaves_nothing(settings: Settings, published: dict[str, bytes]) -> None:
    for content in (None, b"this is no archive", archive()[:-40]):
        published.clear()
        if content is not None:
            published["/jdk.tar.gz"] = content
        with pytest.raises(MachineError, match="could not be downloaded") as caught:
            ensure_java(settings)
        assert "JAVA_HOME" in caught.value.remedy
        assert {path.name for path in (settings.home / "java").iterdir()} <= {"install.lock"}


def test_a_home_that_cannot_be_written(settings: Settings) -> None:
    settings.home.parent.mkdir(exist_ok=True)
    settings.home.write_text("a file")
    with pytest.raises(MachineError, match="could not be installed"):
        ensure_java(settings)
