"""The proof: each key is used for what it must be able to do, and for what must be refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from botocore.exceptions import ClientError
from place import Failure, Key, Place, Tenant
from servers import Server, status

_BODY = b"Written by create_s3_buckets to see whether it can be; it may be deleted.\n"


def prove(place: Place, server: Server | None) -> Iterator[str]:
    """Prove everything; one line for each thing that holds.

    Raises
    ------
    Failure
        At the first thing that does not.
    """
    # One key's proof is tried on an object that is really there, in the other one's bucket.
    name = f".proof-{os.urandom(8).hex()}"
    clients = {tenant: place.client("s3", tenant.key) for tenant in place.tenants}
    with _objects(clients, name):
        for tenant, other in (place.tenants, place.tenants[::-1]):
            yield from _works(tenant, clients[tenant], name)
            yield from _is_kept_out(tenant, clients[tenant], other.bucket, name)
            yield from _cannot_rule(tenant, clients[tenant], server)
            yield from _strangers_are_refused(place, tenant, name)


@contextmanager
def _objects(clients: dict[Tenant, Any], name: str) -> Iterator[None]:
    try:
        for tenant, s3 in clients.items():
            _must(f"{tenant} writes to {tenant.bucket}", partial(_put, s3, tenant.bucket, name))
        yield
    finally:
        for tenant, s3 in clients.items():
            with suppress(ClientError):  # what went wrong before is what there is to say
                s3.delete_object(Bucket=tenant.bucket, Key=name)


def _works(tenant: Tenant, s3: Any, there: str) -> Iterator[str]:
    bucket, name = tenant.bucket, f"{there}-own"

    def see(expected: list[str]) -> None:
        page = s3.list_objects_v2(Bucket=bucket, Prefix=name)
        if [item["Key"] for item in page.get("Contents", ())] != expected:
            raise Failure(f"{tenant} does not see in {bucket} what it has just done there")

    def read() -> None:
        if s3.get_object(Bucket=bucket, Key=name)["Body"].read() != _BODY:
            raise Failure(f"{tenant} reads something else from {bucket} than it has written")

    def delete() -> None:
        s3.delete_object(Bucket=bucket, Key=name)
        see([])

    yield _must(f"{tenant} asks where {bucket} is", lambda: s3.get_bucket_location(Bucket=bucket))
    yield _must(f"{tenant} writes to {bucket}", lambda: _put(s3, bucket, name))
    yield _must(f"{tenant} lists {bucket}", lambda: see([name]))
    yield _must(f"{tenant} reads from {bucket}", read)
    yield _must(f"{tenant} deletes from {bucket}", delete)
    yield _must(f"{tenant} uploads in parts to {bucket}, and aborts", lambda: _begin_and_abort(s3, bucket, name))


def _is_kept_out(tenant: Tenant, s3: Any, bucket: str, there: str) -> Iterator[str]:
    yield _must_not(f"{tenant} lists {bucket}", lambda: s3.list_objects_v2(Bucket=bucket))
    yield _must_not(f"{tenant} reads from {bucket}", lambda: s3.get_object(Bucket=bucket, Key=there))
    yield _must_not(f"{tenant} writes to {bucket}", lambda: _put(s3, bucket, there))
    yield _must_not(f"{tenant} deletes from {bucket}", lambda: s3.delete_object(Bucket=bucket, Key=there))
    yield _must_not(
        f"{tenant} begins an upload in parts to {bucket}",
        lambda: s3.create_multipart_upload(Bucket=bucket, Key=there),
        lambda begun: s3.abort_multipart_upload(Bucket=bucket, Key=there, UploadId=begun["UploadId"]),
    )


def _cannot_rule(tenant: Tenant, s3: Any, server: Server | None) -> Iterator[str]:
    name = f"proof-{os.urandom(8).hex()}"
    yield _must_not(
        f"{tenant} makes a bucket", lambda: s3.create_bucket(Bucket=name), lambda _: s3.delete_bucket(Bucket=name)
    )
    # This is no policy: a server that let the key set one would take exception to it, and keep what it has.
    set_policy = partial(s3.put_bucket_policy, Bucket=tenant.bucket, Policy="{}")
    yield _must_not(f"{tenant} sets the policy of {tenant.bucket}", set_policy)
    if server is None:
        return
    if server.lets_rule(tenant):
        raise Failure(f"is not refused: {tenant} sets what it may do")
    yield f"refused: {tenant} sets what it may do"
    if server.key_ids(tenant) != {tenant.key.id}:
        raise Failure(f"the server takes other keys than that of {tenant} for the user {tenant.name}")
    yield f"holds: no other key than that of {tenant} is the user {tenant.name}'s"


def _strangers_are_refused(place: Place, tenant: Tenant, there: str) -> Iterator[str]:
    bucket = tenant.bucket
    nobody = place.client("s3", None)
    yield _must_not(f"an anonymous request lists {bucket}", lambda: nobody.list_objects_v2(Bucket=bucket))
    yield _must_not(f"an anonymous request reads from {bucket}", lambda: nobody.get_object(Bucket=bucket, Key=there))
    yield _must_not(f"an anonymous request writes to {bucket}", lambda: _put(nobody, bucket, there))
    forger = place.client("s3", Key(tenant.key.id, os.urandom(20).hex()))
    yield _must_not(f"{tenant} with another secret lists {bucket}", lambda: forger.list_objects_v2(Bucket=bucket))
    stranger = place.client("s3", Key(os.urandom(10).hex(), os.urandom(20).hex()))
    yield _must_not(f"an unknown key lists {bucket}", lambda: stranger.list_objects_v2(Bucket=bucket))


def _put(s3: Any, bucket: str, name: str) -> None:
    s3.put_object(Bucket=bucket, Key=name, Body=_BODY)


def _begin_and_abort(s3: Any, bucket: str, name: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key=name)["UploadId"]
    try:
        s3.upload_part(Bucket=bucket, Key=name, UploadId=upload, PartNumber=1, Body=_BODY)
    finally:
        s3.abort_multipart_upload(Bucket=bucket, Key=name, UploadId=upload)


def _must(claim: str, action: Callable[[], object]) -> str:
    try:
        action()
    except ClientError as error:
        raise Failure(f"does not hold: {claim}; the server answered {_answer(error)}") from None
    return f"holds: {claim}"


def _must_not(claim: str, action: Callable[[], Any], undo: Callable[[Any], object] = lambda _: None) -> str:
    """Only a refusal will do: any other failure may be a door that happened to be stuck."""
    try:
        done = action()
    except ClientError as error:
        if status(error) in (401, 403):
            return f"refused: {claim}"
        raise Failure(f"is not refused: {claim}; the server answered {_answer(error)}") from None
    with suppress(ClientError):
        undo(done)
    raise Failure(f"is not refused: {claim}")


def _answer(error: ClientError) -> str:
    return f"{status(error)} {error.response['Error']['Code']}"
