"""Uploads in parts that were begun in MLflow's bucket and neither finished nor aborted; asked with the root key."""

import json
import os
from pathlib import Path

import boto3

lines = Path("/run/secrets/s3_root").read_text().split()
key = dict(line.split("=", 1) for line in lines if "=" in line)
store = boto3.client(
    "s3", endpoint_url=os.environ["STACK_S3_ENDPOINT"], region_name=os.environ["STACK_S3_REGION"], **key
)
answer = store.list_multipart_uploads(Bucket=os.environ["STACK_S3_BUCKET"])
print(json.dumps([upload["Key"] for upload in answer.get("Uploads", [])]))
