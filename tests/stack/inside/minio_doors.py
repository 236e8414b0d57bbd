"""What MinIO's admin interface answers to a key that is not its root's: SECRET_FILE."""

import json
import os
import re
import sys
import tempfile
from pathlib import Path

from minio.credentials import StaticProvider
from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin

(file,) = sys.argv[1:]
lines = Path(file).read_text().split()
key = dict(line.split("=", 1) for line in lines if "=" in line)
identity, secret = key["aws_access_key_id"], key["aws_secret_access_key"]
address = os.environ["STACK_S3_ENDPOINT"].removeprefix("http://")
region = os.environ["STACK_S3_REGION"]
admin = MinioAdmin(endpoint=address, credentials=StaticProvider(identity, secret), region=region, secure=False)
statement = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}
policy = Path(tempfile.mkdtemp()) / "policy.json"
policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def ask(call):
    """The HTTP status of a refusal; `done` when there was none."""
    try:
        call()
    except MinioAdminException as error:
        return int(re.search(r"Status: (\d+)", str(error))[1])
    return "done"


calls = {
    "list users": admin.user_list,
    "create user": lambda: admin.user_add("intruder", "f" * 40),
    "create policy": lambda: admin.policy_add("intruder", str(policy)),
    "take a policy": lambda: admin.policy_set("consoleAdmin", user=identity),
    "create key": lambda: admin.add_service_account(access_key="intruder", secret_key="f" * 40),
    "state of the server": admin.info,
    "stop": admin.service_stop,
}
print(json.dumps({use: ask(call) for use, call in calls.items()}))
