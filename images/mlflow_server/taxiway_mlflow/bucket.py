"""The bucket of the artifacts: who may be asked for it, how long it may be away, and what its faults are called."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, TEMPORARILY_UNAVAILABLE

SCHEME = "proxied-s3"
# How long requests wait for an S3 server that restarts, in seconds. Twice the time for an answer fits in, and
# it ends well before MLflow's clients give a request up (Taxiway's after 60 seconds, MLflow's own after 120).
PATIENCE = 30.0
_CONNECT, _READ, _PROBE = 5.0, 15.0, 3.0
_MISSING = frozenset({"NoSuchKey", "404"})
_AWAY = frozenset({500, 502, 503, 504})

T = TypeVar("T")


class StoreFault(MlflowException):
    """The artifact store, or the spool before it, did not do what it was asked.

    The status is one that MLflow's clients do not repeat (3.17 repeats 408, 429, 500, 502, 503 and 504, up to
    four minutes): the server has waited and asked again already, and its answer is final.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, error_code=TEMPORARILY_UNAVAILABLE)

    def get_http_status_code(self) -> int:
        return 507  # Insufficient Storage


class Bucket:
    """One bucket, asked with a bounded patience.

    A server that restarts is waited for. One that stays away is not waited for again by each request that
    comes: those are refused as soon as a short question has shown that it is still away.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._s3 = _client(_CONNECT, _READ)
        self._short = _client(_PROBE, _PROBE)
        self._away_since: float | None = None

    def probe(self) -> None:
        """Ask for the bucket's first object, once; raises what botocore raises."""
        self._short.list_objects_v2(Bucket=self.name, MaxKeys=1)

    def ask(self, operation: Callable[[Any], T]) -> T:
        """What an operation on boto3's client answers.

        Raises
        ------
        MlflowException
            There is no such object.
        StoreFault
            The store refuses, or has been away for too long.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        begun = time.monotonic()
        try:
            if self._away_since is not None and begun - self._away_since > PATIENCE:
                self.probe()
            while True:
                try:
                    answer = operation(self._s3)
                except (BotoCoreError, ClientError) as error:
                    self._endure(error, begun)
                else:
                    self._away_since = None
                    return answer
        except (BotoCoreError, ClientError) as error:
            raise _fault(error) from error

    def _endure(self, error: Exception, begun: float) -> None:
        """Return when it is worth asking again; otherwise raise the error."""
        if not _is_away(error):
            raise error
        if self._away_since is None:
            self._away_since = begun
        if time.monotonic() - min(begun, self._away_since) > PATIENCE:
            raise error
        time.sleep(1)  # between two requests: S3 announces nothing when it is back


@functools.cache
def bucket() -> Bucket:
    """The bucket of this server's artifacts."""
    return Bucket(os.environ.get("STACK_S3_BUCKET") or "mlflow")


def _client(connect: float, read: float) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=connect,
        read_timeout=read,
        # Asking again is Bucket's: botocore's own would multiply with it.
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=32,
        s3={"addressing_style": "path"},
    )
    return boto3.session.Session().client(
        "s3",
        endpoint_url=os.environ.get("STACK_S3_ENDPOINT") or None,
        region_name=os.environ.get("STACK_S3_REGION") or "us-east-1",
        config=config,
    )


def _is_away(error: Exception) -> bool:
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in _AWAY
    return isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.IncompleteReadError))


def _fault(error: Exception) -> MlflowException:
    from botocore.exceptions import ClientError

    if not isinstance(error, ClientError):
        return StoreFault(f"The artifact store does not answer ({error}). Start S3 again, or look at its log.")
    code, said = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    if code in _MISSING:
        return MlflowException("There is no such artifact.", error_code=RESOURCE_DOES_NOT_EXIST)
    return StoreFault(f"The artifact store refused ({code}: {said}). Look at the log, the disk and the key of S3.")
