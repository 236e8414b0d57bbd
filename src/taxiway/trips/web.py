"""Trips behind a base URL of an HTTP server."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from taxiway.errors import Unreachable
from taxiway.trips.remote import (
    CONNECT_SECONDS,
    GONE,
    READ_SECONDS,
    REMEDY,
    Broken,
    Missing,
    Remote,
    Stream,
    cause,
    first_hop,
    knock,
)

_BUFFER = 1 << 16
"""Bytes that the client holds for us; those are lost with a connection."""


class WebRemote(Remote):
    """A base URL of an HTTP server."""

    def __init__(self, location: str) -> None:
        import aiohttp
        from fsspec.implementations.http import HTTPFileSystem

        super().__init__(location)
        if not urlsplit(location).hostname:
            raise ValueError("it names no host")
        self._lost = (aiohttp.ClientError, OSError)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
        # Lengths and ranges are those of the file, so nobody may compress it on the way.
        headers = {"Accept-Encoding": "identity"}
        session = {"timeout": timeout, "trust_env": True, "headers": headers, "read_bufsize": _BUFFER}
        self._files: Any = HTTPFileSystem(skip_instance_cache=True, client_kwargs=session)

    def open(self, name: str, offset: int, identity: str) -> Stream:
        """Open a file; a server without ranges, or with another file by now, starts from 0."""
        import aiohttp

        headers = {"Range": f"bytes={offset}-", "If-Range": identity} if offset and identity else {}
        try:
            # A block size of 0 makes fsspec stream, a known size saves it a request for the length.
            file = self._files.open(self._url(name), "rb", block_size=0, size=1, headers=headers)
        except FileNotFoundError as error:
            raise Missing(name) from error
        except aiohttp.ClientResponseError as error:
            if error.status == 416 and headers:
                return self.open(name, 0, "")
            raise self._judge(name, error.status) from error
        except self._lost as error:
            raise Broken(cause(error)) from error
        return self._stream(file)

    def names_in(self, folder: str) -> list[str]:
        """Nothing: HTTP has no folders."""
        del folder
        return []

    def _stream(self, file: Any) -> Stream:
        def read(size: int) -> bytes:
            try:
                data: bytes = file.read(size)
            except self._lost as error:
                raise Broken(cause(error)) from error
            return data

        headers = file.r.headers
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", ""))
        if file.r.status == 206 and span is None:
            file.close()
            raise Broken("an answer in parts that says not which")
        start, total = (int(span[1]), int(span[2])) if span else (0, _length(headers))
        # If-Range takes strong validators only.
        tag = headers.get("ETag", "")
        identity = headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
        return Stream(start, total, identity, read, file.close)

    def _judge(self, name: str, status: int) -> Exception:
        if status in GONE:
            return Missing(name)
        if status in (408, 429) or status >= 500:
            return Broken(f"HTTP {status}")
        return Unreachable(f"The source of trips {self.shown} refuses the request for {name} (HTTP {status})", REMEDY)

    def _url(self, name: str) -> str:
        parts = urlsplit(self.location)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))

    def _ask(self) -> str:
        from fsspec.asyn import sync

        knock(*first_hop(self.location))

        async def head() -> int:
            session = await self._files.set_session()
            async with session.head(self._url(""), allow_redirects=True) as answer:
                return int(answer.status)

        try:
            status = sync(self._files.loop, head)
        except self._lost as error:
            raise Broken(cause(error)) from error
        # Some servers know no HEAD (501), or no base address (500): the files will tell.
        if status in (401, 407, 502, 503, 504):
            raise Broken(f"HTTP {status}")
        return f"{self.shown} answers"


def _length(headers: Any) -> int | None:
    text = headers.get("Content-Length", "")
    return int(text) if text.isdigit() and not headers.get("Content-Encoding") else None
