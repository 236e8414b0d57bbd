"""How users, policies and keys are made: by IAM calls at SeaweedFS, by MinIO's own admin calls at MinIO."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import NamedTemporaryFile
from typing import Any, Protocol
from urllib.parse import urlsplit

from botocore.exceptions import ClientError
from place import Failure, Key, Place, Tenant

POLICY = "own-bucket-only"

_IN_THE_BUCKET = ("s3:ListBucket", "s3:GetBucketLocation")
_WITH_ITS_OBJECTS = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")


def policy(bucket: str) -> dict[str, Any]:
    """What MLflow and Spark need in a bucket, and nothing else."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": list(_IN_THE_BUCKET), "Resource": [f"arn:aws:s3:::{bucket}"]},
            {"Effect": "Allow", "Action": list(_WITH_ITS_OBJECTS), "Resource": [f"arn:aws:s3:::{bucket}/*"]},
        ],
    }


class Server(Protocol):
    """A server whose users this job makes."""

    def admit(self, tenant: Tenant) -> None:
        """Give the tenant's key, and no other, its bucket, and no other. May be done again at any time."""

    def key_ids(self, tenant: Tenant) -> set[str]:
        """The keys that the server takes for this tenant's."""

    def lets_rule(self, tenant: Tenant) -> bool:
        """Whether the tenant's own key can set what it may do; tried with what it may do anyway."""


class SeaweedFS:
    """SeaweedFS, which serves IAM at the same address as S3."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._iam = place.client("iam", place.root)

    def admit(self, tenant: Tenant) -> None:
        with suppress(self._iam.exceptions.EntityAlreadyExistsException):
            self._iam.create_user(UserName=tenant.name)
        self._put_policy(self._iam, tenant)
        present = self.key_ids(tenant)
        if tenant.key.id in present and not self._is_let_in(tenant):
            # The same key with another secret: nothing can change a secret, so the key is made anew.
            self._iam.delete_access_key(UserName=tenant.name, AccessKeyId=tenant.key.id)
            present.remove(tenant.key.id)
        if tenant.key.id not in present:
            self._create_key(tenant)
        # What was used before a rotation, and what a user made for himself: SeaweedFS lets every user do that.
        for former in present - {tenant.key.id}:
            self._iam.delete_access_key(UserName=tenant.name, AccessKeyId=former)

    def key_ids(self, tenant: Tenant) -> set[str]:
        pages = self._iam.get_paginator("list_access_keys").paginate(UserName=tenant.name)
        return {key["AccessKeyId"] for page in pages for key in page["AccessKeyMetadata"]}

    def lets_rule(self, tenant: Tenant) -> bool:
        try:
            self._put_policy(self._place.client("iam", tenant.key), tenant)
        except ClientError as error:
            if status(error) == 403:
                return False
            raise
        return True

    def _put_policy(self, iam: Any, tenant: Tenant) -> None:
        document = json.dumps(policy(tenant.bucket))
        iam.put_user_policy(UserName=tenant.name, PolicyName=POLICY, PolicyDocument=document)

    def _is_let_in(self, tenant: Tenant) -> bool:
        try:
            self._place.client("s3", tenant.key).list_objects_v2(Bucket=tenant.bucket, MaxKeys=1)
        except ClientError as error:
            if status(error) == 403:
                return False
            raise
        return True

    def _create_key(self, tenant: Tenant) -> None:
        # AWS thinks up keys itself, and its client knows no way to bring one. SeaweedFS takes the one that
        # the request names (seen with 4.48).
        def bring(params: dict[str, Any], **_: Any) -> None:
            params["body"] |= {"AccessKeyId": tenant.key.id, "SecretAccessKey": tenant.key.secret}

        iam = self._place.client("iam", self._place.root)
        iam.meta.events.register("before-call.iam.CreateAccessKey", bring)
        try:
            made = iam.create_access_key(UserName=tenant.name)["AccessKey"]["AccessKeyId"]
        except iam.exceptions.EntityAlreadyExistsException:
            raise Failure(f"the key in {tenant} is another user's already; rotate it") from None
        if made != tenant.key.id:
            self._iam.delete_access_key(UserName=tenant.name, AccessKeyId=made)
            raise Failure("this SeaweedFS makes keys of its own choice; take version 4.48 or later")


class MinIO:
    """MinIO, which has no IAM: a user is a key, and its admin calls are a protocol of its own."""

    def __init__(self, place: Place) -> None:
        assert place.root  # noqa: S101  # for mypy: read_place refuses a MinIO without a root key
        self._place = place
        self._admin = self._open(place.root)

    def admit(self, tenant: Tenant) -> None:
        name = self._policy_name(tenant)
        document = policy(tenant.bucket)
        # MinIO lets every user make further keys for himself, unless he is denied it.
        document["Statement"].append({"Effect": "Deny", "Action": ["admin:CreateServiceAccount"]})
        with _plainly(), NamedTemporaryFile("w", suffix=".json") as file:
            # All versions of MinIO's client take a file; only some take a document.
            json.dump(document, file)
            file.flush()
            self._admin.policy_add(name, file.name)
            self._admin.user_add(tenant.key.id, tenant.key.secret)
            self._admin.policy_set(name, user=tenant.key.id)
        for former in self.key_ids(tenant) - {tenant.key.id}:
            with _plainly():
                self._admin.user_remove(former)

    def key_ids(self, tenant: Tenant) -> set[str]:
        with _plainly():
            users: dict[str, dict[str, str]] = json.loads(self._admin.user_list())
        name = self._policy_name(tenant)
        return {user for user, facts in users.items() if name in facts.get("policyName", "").split(",")}

    def lets_rule(self, tenant: Tenant) -> bool:
        try:
            with _plainly():
                self._open(tenant.key).policy_set(self._policy_name(tenant), user=tenant.key.id)
        except Failure as failure:
            if "AccessDenied" in str(failure):
                return False
            raise
        return True

    def _policy_name(self, tenant: Tenant) -> str:
        return f"{tenant.name}-{POLICY}"

    def _open(self, key: Key) -> Any:
        # Only here: the other servers can do without it.
        from minio.credentials import StaticProvider
        from minio.minioadmin import MinioAdmin

        url = urlsplit(self._place.endpoint)
        provider = StaticProvider(key.id, key.secret)
        secure = url.scheme == "https"
        return MinioAdmin(endpoint=url.netloc, credentials=provider, region=self._place.region, secure=secure)


@contextmanager
def _plainly() -> Iterator[None]:
    """What MinIO's admin interface answers, as a line of ours."""
    from minio.error import MinioAdminException, MinioException

    try:
        yield
    # The client's two families of errors have no ancestor of their own.
    except (MinioAdminException, MinioException) as error:
        raise Failure(f"MinIO's admin interface: {' '.join(str(error).split())}") from None


def open_server(place: Place) -> Server | None:
    """The server at a place; None where users are not made by this job."""
    if place.server == "seaweedfs":
        return SeaweedFS(place)
    return MinIO(place) if place.server == "minio" else None


def status(error: ClientError) -> int:
    """The HTTP status that a server answered with."""
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
