"""Makes the stack's buckets, users, policies and keys, and proves that each key can do what it must and no more.

It may run at any time, and does so at every start: what is there already stays, keys that are in no secret file
any more stop working. At somebody else's S3 server (S3_SERVER=other) it makes nothing and proves the same.

::

    create.py [FOLDER]     the folder of the secret files s3_root, s3_mlflow and s3_trips; /run/secrets unless said
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError
from buckets import find_bucket, limit_uploads, make_bucket
from place import Failure, Place, read_place
from proof import prove
from servers import open_server, status

SECRETS = "/run/secrets"


def create(place: Place) -> Iterator[str]:
    """Do all of it; a line for each thing that was done or holds.

    Raises
    ------
    Failure
        Something is missing that this job cannot make, or a key can do too much or too little.
    """
    yield f"{place.server} at {place.endpoint}"
    server = open_server(place)
    for tenant in place.tenants:
        if server is None:
            yield find_bucket(place, tenant)
            continue
        s3 = place.client("s3", place.root)
        yield make_bucket(s3, tenant.bucket)
        yield from limit_uploads(s3, tenant.bucket)
        server.admit(tenant)
        yield f"key {tenant}: good for bucket {tenant.bucket} alone"
    yield from prove(place, server)


def main(folder: str = SECRETS) -> int:
    """Run as a program: a line for each thing on standard output, what goes wrong as one on standard error."""
    endpoint = os.environ.get("STACK_S3_ENDPOINT", "")
    try:
        for line in create(read_place(os.environ, Path(folder))):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    except Failure as failure:
        return _fail(str(failure))
    except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
        return _fail(f"{endpoint} does not answer ({type(error).__name__}); see whether the service s3 is healthy")
    except ClientError as error:
        call, code = error.operation_name, error.response["Error"]["Code"]
        return _fail(f"{endpoint} answered {status(error)} {code} to {call}; its own log may say why")
    except BotoCoreError as error:
        return _fail(" ".join(str(error).split()))
    return 0


def _fail(message: str) -> int:
    sys.stderr.write(f"create_s3_buckets: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
