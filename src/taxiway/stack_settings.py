"""Where the container stack lies, and what was chosen for it: by variables, else at its last start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from taxiway.errors import MachineError, NotFound, did_you_mean
from taxiway.folders import expanded

S3_SERVERS = ("seaweedfs", "minio", "external")
STACK_CHOICES = "stack.env"
"""The file beside the secrets that remembers what the stack was last started with."""

_OPTIONS = (
    "STACK_JUPYTER_MEMORY",
    "STACK_WORKER_CORES",
    "STACK_WORKER_MEMORY",
    "STACK_WORKER_LIMIT",
    "STACK_SPARK",
    "STACK_TRIPS_SOURCE",
)
_ENDPOINT = ("STACK_S3_ENDPOINT", "STACK_S3_REGION", "STACK_S3_BUCKET", "STACK_TRIPS_BUCKET")


@dataclass(frozen=True)
class StackSettings:
    """Where the container stack lies and what was chosen for it: by variables, else at its last start.

    Parameters
    ----------
    folder : Path
        The folder with its ``compose.yaml``.
    secrets : Path
        The folder with its passwords and keys, and with `STACK_CHOICES`.
    project : str
        What its containers, networks and volumes are labelled with.
    s3 : str
        One of `S3_SERVERS`.
    jupyter_port, mlflow_port, console_port : int
        On 127.0.0.1; the last one is the console of MinIO.
    override : str
        One more compose file, or several with colons between them.
    options : mapping of str to str
        Other variables of the compose files that were set; those of an S3 server elsewhere while it is in use.
    last_s3 : str
        What `s3` was at the last start; empty before the first.
    owner : str
        The project that the secrets are of; empty before the first start.
    """

    folder: Path
    secrets: Path
    project: str = "taxiway"
    s3: str = "seaweedfs"
    jupyter_port: int = 8888
    mlflow_port: int = 5000
    console_port: int = 9001
    override: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    last_s3: str = ""
    owner: str = ""

    @property
    def exists(self) -> bool:
        """Whether the folder holds Taxiway's stack, and not another program's."""
        return holds_a_stack(self.folder)

    @property
    def choices(self) -> dict[str, str]:
        """What was chosen, as Compose and `STACK_CHOICES` have it."""
        return {
            "COMPOSE_PROJECT_NAME": self.project,
            "STACK_S3": self.s3,
            "STACK_JUPYTER_PORT": str(self.jupyter_port),
            "STACK_MLFLOW_PORT": str(self.mlflow_port),
            "STACK_MINIO_CONSOLE_PORT": str(self.console_port),
            **self.options,
        }

    def read_secret(self, name: str) -> str:
        """The value of one secret.

        Raises
        ------
        NotFound
            There is no stack, or it has not been started yet.
        MachineError
            Its file cannot be read.
        """
        file = self.secrets / name
        try:
            value = file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            value = ""
        except OSError as error:
            raise MachineError(
                f"The stack's secret {file} cannot be read: {error.strerror}",
                "Run this as the user who started the stack",
            ) from error
        if not value and not self.exists:
            remedy = "Name the folder of a checkout with --stack or TAXIWAY_STACK"
            raise NotFound(f"{self.folder} holds no container stack of Taxiway", remedy)
        if not value:
            raise NotFound(f"The stack has no secret {file}", "Start it once: taxiway stack up")
        return value


def read_stack(
    given: str | None, environment: Mapping[str, str], directory: Path, faults: list[str]
) -> StackSettings | None:
    """The stack that is given, or near; what was chosen for it that is wrong goes into `faults`."""
    folder = expanded(given) if given else _find_stack(directory)
    if folder is None:
        return None
    secrets = Path(environment.get("STACK_SECRETS") or ".secrets")
    secrets = expanded(secrets) if str(secrets).startswith("~") else folder / secrets
    remembered = _read_choices(secrets / STACK_CHOICES)

    def choice(name: str, default: str) -> str:
        return environment.get(name) or remembered.get(name) or default

    def port(name: str, default: int) -> int:
        text = choice(name, str(default))
        if text.isdecimal() and 0 < int(text) < 65536:
            return int(text)
        place = "" if environment.get(name) else f", in {secrets / STACK_CHOICES}"
        faults.append(f"{name}: '{text}' is not a port{place}")
        return default

    s3 = choice("STACK_S3", S3_SERVERS[0])
    if s3 not in S3_SERVERS:
        faults.append(f"STACK_S3: there is no S3 server '{s3}'. {did_you_mean(s3, S3_SERVERS)}")
    options = (*_OPTIONS, *(_ENDPOINT if s3 == "external" else ()))
    return StackSettings(
        folder=folder,
        secrets=secrets,
        project=choice("COMPOSE_PROJECT_NAME", "taxiway"),
        s3=s3,
        jupyter_port=port("STACK_JUPYTER_PORT", 8888),
        mlflow_port=port("STACK_MLFLOW_PORT", 5000),
        console_port=port("STACK_MINIO_CONSOLE_PORT", 9001),
        override=environment.get("STACK_OVERRIDE", ""),
        options={name: value for name in options if (value := choice(name, ""))},
        last_s3=remembered.get("STACK_S3", ""),
        owner=remembered.get("COMPOSE_PROJECT_NAME", ""),
    )


def _find_stack(directory: Path) -> Path | None:
    """The working directory, a folder above it, or the checkout that this package runs from."""
    places = [directory.absolute(), *directory.absolute().parents, Path(__file__).resolve().parents[2]]
    return next((place for place in places if holds_a_stack(place)), None)


def holds_a_stack(folder: Path) -> bool:
    """Whether a folder holds Taxiway's stack, and not another program's."""
    # Many a project has a compose.yaml. Asked by access, which takes a folder that is not ours for a no.
    return all(os.access(folder / file, os.R_OK) for file in ("compose.yaml", "images/stack.sh"))


def _read_choices(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        # Not started yet, or not by us: whoever needs a secret from there says so.
        return {}
    return {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}
