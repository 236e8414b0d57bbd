"""What S3 answers to the key in a file and to others: ENDPOINT REGION OWN_BUCKET OTHER_BUCKET FILE."""

import json
import sys
from pathlib import Path

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

endpoint, region, own, other, file = sys.argv[1:]
KEPT = "door/kept"


def client(name, who, **more):
    bounds = Config(connect_timeout=3, read_timeout=20, retries={"total_max_attempts": 1}, **more)
    return botocore.session.get_session().create_client(
        name, region_name=region, endpoint_url=endpoint, config=bounds, **who
    )


def ask(call):
    """The HTTP status of a refusal; `done` when there was none."""
    try:
        call()
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]
    except BotoCoreError as error:
        return type(error).__name__
    return "done"


def uses(store, bucket):
    return {
        "write": lambda: store.put_object(Bucket=bucket, Key=KEPT, Body=b"x"),
        "list": lambda: store.list_objects_v2(Bucket=bucket),
        "read": lambda: store.get_object(Bucket=bucket, Key=KEPT),
        "delete": lambda: store.delete_object(Bucket=bucket, Key=KEPT),
    }


def everything(**who):
    """A policy that allows all of it."""
    places = [f"arn:aws:s3:::{own}", f"arn:aws:s3:::{own}/*"] if who else "*"
    statement = {"Effect": "Allow", "Action": "s3:*" if who else "*", "Resource": places, **who}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


lines = Path(file).read_text().split()
key = dict(line.split("=", 1) for line in lines if "=" in line)
# What botocore itself would find in this container is left out of it.
unknown = {"aws_access_key_id": "0123456789abcdef0123", "aws_secret_access_key": "f" * 40}
wrong = {**key, "aws_secret_access_key": "f" * 40}

store, iam = client("s3", key), client("iam", key)
may = uses(store, own)
found = {"own": {use: ask(may[use]) for use in ("write", "list", "read")}}
for name, who, bucket, more in (
    ("anonymous", {}, own, {"signature_version": UNSIGNED}),
    ("unknown key", unknown, own, {}),
    ("wrong secret", wrong, own, {}),
    ("other bucket", key, other, {}),
):
    found[name] = {use: ask(call) for use, call in uses(client("s3", who, **more), bucket).items()}
administration = {
    "create bucket": lambda: store.create_bucket(Bucket="a-bucket-of-my-own"),
    "delete bucket": lambda: store.delete_bucket(Bucket=own),
    "bucket policy": lambda: store.put_bucket_policy(Bucket=own, Policy=everything(Principal="*")),
    "no bucket policy": lambda: store.delete_bucket_policy(Bucket=own),
    "bucket for all": lambda: store.put_bucket_acl(Bucket=own, ACL="public-read-write"),
    "no life cycle": lambda: store.delete_bucket_lifecycle(Bucket=own),
}
identities = {
    "create user": lambda: iam.create_user(UserName="intruder"),
    "create key": lambda: iam.create_access_key(UserName="intruder"),
    "list users": lambda: iam.list_users(),
    "policy of its own": lambda: iam.put_user_policy(UserName="mlflow", PolicyName="more", PolicyDocument=everything()),
}
for name, calls in (("administration", administration), ("identities", identities)):
    found[name] = {use: ask(call) for use, call in calls.items()}
try:
    names = [bucket["Name"] for bucket in store.list_buckets()["Buckets"]]
except ClientError:
    names = []
found["buckets"] = [name for name in names if name != own]
found["own"] |= {"read again": ask(may["read"]), "delete": ask(may["delete"])}
print(json.dumps(found))
