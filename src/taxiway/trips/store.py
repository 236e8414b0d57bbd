"""Trips in an object store: S3, Azure, or whatever else fsspec reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from taxiway.errors import NotFound, Unreachable
from taxiway.proxies import spare_loopback
from taxiway.trips.remote import (
    CONNECT_SECONDS,
    GONE,
    READ_SECONDS,
    Broken,
    Missing,
    Remote,
    Stream,
    cause,
    first_hop,
    first_line,
    knock,
)

_CHUNK = 4 << 20
_ENDS = 1 << 16
"""Bytes fetched at a time of a file whose ends alone are read."""

_S3 = ("s3", "s3a")
_AZURE = ("abfs", "abfss", "az")
# The public container of Azure Open Datasets: whoever asks there is nobody in particular.
_PUBLIC_ACCOUNT = "azureopendatastorage"
_WRONG_CREDENTIALS = (
    "AuthenticationFailed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
)


class StoreRemote(Remote):
    """A bucket or container of an object store, or whatever else fsspec reads."""

    def __init__(self, location: str) -> None:
        import fsspec

        super().__init__(location)
        spare_loopback()
        self._scheme = location.partition("://")[0].lower()
        self.folders_first = _PUBLIC_ACCOUNT in location
        kind = fsspec.get_filesystem_class(self._scheme)
        self._lost = _store_faults(self._scheme)
        try:
            self._files: Any = kind(**kind._get_kwargs_from_urls(location), **_options(self._scheme, location))
        except self._lost as error:
            raise ValueError(first_line(error)) from error
        self._root = str(kind._strip_protocol(location)).rstrip("/")

    def open(self, name: str, offset: int, identity: str) -> Stream:
        """Open an object; it goes on from the offset if its identity is the same."""
        path = f"{self._root}/{name}"
        known = self._info(path)
        total, current = int(known["size"]), _identity(known)
        start = offset if identity and identity == current and offset <= total else 0
        position = start

        def read(size: int) -> bytes:
            nonlocal position
            if position >= total:
                if _identity(self._info(path)) != current:
                    raise Broken("the file was replaced meanwhile")
                return b""
            data: bytes = self._call(
                self._files.cat_file, path, start=position, end=min(position + max(size, _CHUNK), total)
            )
            if not data:
                raise Broken("the file ended early")
            position += len(data)
            return data

        return Stream(start, total, current, read, lambda: None)

    def address(self, name: str) -> str:
        """Where Spark finds an object, in S3 by the client that Hadoop has for it."""
        scheme = "s3a" if self._scheme in _S3 else self._scheme
        return f"{scheme}://{self._root}/{name}"

    @contextmanager
    def reading(self, name: str) -> Iterator[BinaryIO]:
        """An object as a file that can be searched, in which little is fetched that is not read.

        Raises
        ------
        Missing, Broken
            Inside the block as well.
        """
        size = _CHUNK if name.lower().endswith(".csv") else _ENDS
        path = f"{self._root}/{name}"
        self._info(path)
        with self._told(), self._files.open(path, "rb", block_size=size, cache_type="readahead") as file:
            yield file

    def names_in(self, folder: str) -> list[str]:
        """The Parquet objects in a folder, in the order of their names."""
        try:
            found = self._call(self._files.ls, f"{self._root}/{folder}", detail=False)
        except Missing:
            return []
        names = sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)
        parts = (name for name in names if name.lower().endswith(".parquet") and not name.startswith(("_", ".")))
        return [f"{folder}/{name}" for name in parts]

    def _info(self, path: str) -> dict[str, Any]:
        known: dict[str, Any] = self._call(self._files.info, path)
        if known.get("type") == "directory":
            raise Missing(path)
        return known

    def _call(self, action: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with self._told():
            return action(*arguments, **named)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say in two words what a client of many words says."""
        try:
            yield
        except (FileNotFoundError, PermissionError) as error:
            raise Missing(first_line(error)) from error
        except self._lost as error:
            if getattr(error, "status_code", None) in GONE:
                raise Missing(first_line(error)) from error
            raise Broken(cause(error)) from error

    def _ask(self) -> str:
        # What the loop's own resolver is stuck in would delay the end of the program; ours does not.
        if self._scheme in _S3:
            self._call(self._files.connect)
            knock(*first_hop(self._files.s3.meta.endpoint_url))
        elif hasattr(self._files, "service_client"):
            knock(*first_hop(self._files.service_client.url))
        try:
            self._call(self._files.ls, self._root, detail=False)
        except Missing as error:
            if (code := _refusal(error)) in _WRONG_CREDENTIALS:
                raise Unreachable(
                    f"{self.shown} does not take our credentials ({code})",
                    "Correct the AWS_ or AZURE_STORAGE_ variables",
                ) from error
            if code:
                return f"{self.shown} answers, and does not list its files"
            raise NotFound(
                f"There is no bucket, container or folder {self.shown}",
                "Correct --trips-source or TAXIWAY_TRIPS_SOURCE",
            ) from error
        return f"{self.shown} answers"


def _identity(known: dict[str, Any]) -> str:
    keys = ("ETag", "etag", "LastModified", "last_modified", "mtime")
    return next((str(known[key]) for key in keys if known.get(key)), "")


def _refusal(error: BaseException) -> str:
    """Find the code with which a store refused us; empty when it knows us and lacks what we asked for."""
    chain: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None:
        chain.append(seen)
        seen = seen.__cause__
    if not any(isinstance(item, PermissionError) or getattr(item, "status_code", 0) == 403 for item in chain):
        return ""
    return next((code for item in chain if (code := _code(item))), "AccessDenied")


def _code(error: BaseException) -> str:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    code = getattr(error, "error_code", "")
    return str(getattr(code, "value", code) or "")


def _store_faults(scheme: str) -> tuple[type[Exception], ...]:
    """List what the client of a store raises when something goes wrong on the way."""
    import aiohttp

    common = (OSError, aiohttp.ClientError)
    if scheme in _S3:
        from botocore.exceptions import BotoCoreError, ClientError

        return (*common, BotoCoreError, ClientError)
    if scheme in _AZURE:
        from azure.core.exceptions import AzureError

        return (*common, AzureError)
    return common


def _options(scheme: str, location: str) -> dict[str, Any]:
    """Tell a client to fail soon; endpoints and credentials come from the vendor's own variables."""
    always = {"skip_instance_cache": True, "use_listings_cache": False}
    if scheme in _S3:
        from botocore.session import Session

        config = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS, "retries": {"max_attempts": 1}}
        return {**always, "config_kwargs": config, "anon": Session().get_credentials() is None}
    if scheme in _AZURE:
        bounds = {"connection_timeout": int(CONNECT_SECONDS), "read_timeout": int(READ_SECONDS)}
        return {**always, **bounds, **({"anon": True} if _PUBLIC_ACCOUNT in location else {})}
    return always
