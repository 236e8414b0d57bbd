"""Where the S3 server is, which buckets there are to be, and whose keys may use them."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config

SERVERS = ("seaweedfs", "minio", "other")
_NAMES = ("STACK_S3_ENDPOINT", "STACK_S3_REGION", "STACK_S3_BUCKET", "STACK_TRIPS_BUCKET", "S3_SERVER")

# One session for all clients: they share the descriptions of the services, which take longest to load.
_SESSION = boto3.session.Session()


class Failure(Exception):
    """What is wrong and what to do about it, in one line."""


@dataclass(frozen=True)
class Key:
    """An access key and its secret, from a file in the format of AWS's own clients."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Tenant:
    """Somebody who works in one bucket, and in no other.

    Parameters
    ----------
    name : str
        ``mlflow`` or ``trips``; the server's user is called so where users have names.
    bucket : str
    key : Key
    """

    name: str
    bucket: str
    key: Key

    def __str__(self) -> str:
        return f"s3_{self.name}"


@dataclass(frozen=True)
class Place:
    """An S3 server and what is wanted there.

    Parameters
    ----------
    endpoint, region : str
    server : str
        One of `SERVERS`; at ``other`` everything is there already, and nothing is made.
    tenants : tuple of Tenant
    root : Key, optional
        Whose owner may do everything; None at ``other``.
    """

    endpoint: str
    region: str
    server: str
    tenants: tuple[Tenant, Tenant]
    root: Key | None = None

    def client(self, service: str, key: Key | None) -> Any:
        """A client of ``s3`` or ``iam`` that signs with a key; without one it stays anonymous."""
        options = Config(
            signature_version=None if key else UNSIGNED,
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "standard", "total_max_attempts": 4},
        )
        return _SESSION.client(
            service,
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=key and key.id,
            aws_secret_access_key=key and key.secret,
            config=options,
        )


def read_place(environment: Mapping[str, str], secrets: Path) -> Place:
    """Read the settings and the keys; all that is wrong with them is reported together.

    Raises
    ------
    Failure
    """
    faults = [f"{name} is not set" for name in _NAMES if not environment.get(name)]
    endpoint, region, mlflow, trips, server = (environment.get(name, "") for name in _NAMES)
    if server and server not in SERVERS:
        faults.append(f"S3_SERVER is '{server}', and not {', '.join(SERVERS[:-1])} or {SERVERS[-1]}")
    if mlflow and mlflow == trips:
        faults.append(f"STACK_S3_BUCKET and STACK_TRIPS_BUCKET are both '{mlflow}'")
    # An endpoint elsewhere has its own administrator: there the stack's root key means nothing.
    wanted = ("s3_mlflow", "s3_trips") if server == "other" else ("s3_mlflow", "s3_trips", "s3_root")
    keys = {name: _read_key(secrets / name, faults) for name in wanted}
    if faults:
        raise Failure("; ".join(faults))
    tenants = (Tenant("mlflow", mlflow, keys["s3_mlflow"]), Tenant("trips", trips, keys["s3_trips"]))
    return Place(endpoint, region, server, tenants, keys.get("s3_root"))


def _read_key(path: Path, faults: list[str]) -> Key:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        section = parser["default"]
        return Key(section["aws_access_key_id"], section["aws_secret_access_key"])
    except OSError as error:
        faults.append(f"{path} cannot be read ({error.strerror})")
    except (configparser.Error, KeyError, UnicodeDecodeError):
        # What stands in the file is not for a log.
        faults.append(f"{path} needs [default] with aws_access_key_id and aws_secret_access_key")
    return Key("", "")
