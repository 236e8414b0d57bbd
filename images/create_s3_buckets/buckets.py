"""The buckets, and what becomes of uploads that nobody finishes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError
from place import Failure, Place, Tenant
from servers import status

MOST = timedelta(days=1)
RULE = {
    "ID": "abort-unfinished-uploads",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": MOST.days},
}


def make_bucket(s3: Any, name: str) -> str:
    """Make a bucket unless it is there; says which of the two it was."""
    try:
        s3.create_bucket(Bucket=name)
    except (s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
        return f"bucket {name}: is there"
    return f"bucket {name}: made"


def find_bucket(place: Place, tenant: Tenant) -> str:
    """Make sure that a tenant's bucket is there, at somebody else's server.

    Raises
    ------
    Failure
    """
    try:
        place.client("s3", tenant.key).head_bucket(Bucket=tenant.bucket)
    except ClientError as error:
        if status(error) == 404:
            raise Failure(
                f"there is no bucket '{tenant.bucket}' at {place.endpoint}; make it, or name another"
            ) from None
        if status(error) in (401, 403):
            raise Failure(f"{place.endpoint} does not let {tenant} into the bucket '{tenant.bucket}'") from None
        raise
    return f"bucket {tenant.bucket}: is there"


def limit_uploads(s3: Any, bucket: str) -> Iterator[str]:
    """Have unfinished uploads aborted after a day: by the server from now on, and here those that are older."""
    held = _put_rule(s3, bucket)
    how = "by a lifecycle rule" if held else "by the server's own setting, for it takes no lifecycle rule for this"
    yield f"bucket {bucket}: unfinished uploads are aborted after a day, {how}"
    aborted = _abort_old_uploads(s3, bucket)
    if aborted:
        yield f"bucket {bucket}: {aborted} unfinished upload{'s' * (aborted > 1)} of more than a day ago aborted"


def _put_rule(s3: Any, bucket: str) -> bool:
    """Whether the server has the rule; rules of other names stay as they are."""
    rules = _rules(s3, bucket)
    if RULE in rules:
        return True
    others = [rule for rule in rules if rule["ID"] != RULE["ID"]]
    try:
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [*others, RULE]})
    except ClientError as error:
        if status(error) in (400, 501):
            return False
        raise
    # MinIO may drop what it does not know without a word.
    return RULE in _rules(s3, bucket)


def _rules(s3: Any, bucket: str) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchLifecycleConfiguration":
            return []
        raise
    return found


def _abort_old_uploads(s3: Any, bucket: str) -> int:
    latest = datetime.now(UTC) - MOST
    pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
    old = [upload for page in pages for upload in page.get("Uploads", ()) if upload["Initiated"] < latest]
    for upload in old:
        s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    return len(old)
