"""Start the stack, stop it, read its logs, remove it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from taxiway import links
from taxiway.errors import NotFound, Refused, UsageError, did_you_mean
from taxiway.settings import Settings
from taxiway.stack.checks import check_ports, check_resources
from taxiway.stack.docker import SERVICE_LABEL, Docker, find_docker
from taxiway.stack.passwords import SECRETS, finish_rotation
from taxiway.stack.running import PATIENCE, Job, Unwatched, Watch, changing, make_secrets
from taxiway.stack.services import View
from taxiway.stack_settings import S3_SERVERS, STACK_CHOICES, StackSettings

ACCOUNTS = ("admin", "taxiway", "reader")
_CLUSTER = ("cluster",)
_SERVICE = f'{{{{.Label "{SERVICE_LABEL}"}}}}'
_FOLDER = '{{.Label "com.docker.compose.project.working_dir"}}'
_STOPPING = 180.0


@dataclass(frozen=True)
class Started:
    """A stack that is healthy.

    Parameters
    ----------
    stack : StackSettings
    views : tuple of View
        Its services.
    log : Path
        What Compose wrote.
    """

    stack: StackSettings
    views: tuple[View, ...]
    log: Path

    @property
    def jupyterlab(self) -> str:
        """The link that opens JupyterLab; it holds the token."""
        server = links.on_this_machine(self.stack.jupyter_port)
        return links.jupyterlab(server, self.stack.read_secret("jupyter_token"))

    @property
    def mlflow(self) -> str:
        """The address of MLflow's pages and API."""
        return links.on_this_machine(self.stack.mlflow_port)

    @property
    def console(self) -> str | None:
        """The address of the S3 server's own pages, where it has some."""
        return links.on_this_machine(self.stack.console_port) if self.stack.s3 == "minio" else None

    @property
    def accounts(self) -> dict[str, Path]:
        """MLflow's accounts and the files with their passwords."""
        return {name: self.stack.secrets / f"mlflow_{name}_password" for name in ACCOUNTS}


@dataclass(frozen=True)
class Clearing:
    """Everything that belongs to one stack, and what of it `clear` removes: all of it.

    Parameters
    ----------
    docker : Docker
    containers, networks, volumes : tuple of str
    files : tuple of Path
        The secrets.
    """

    docker: Docker
    containers: tuple[str, ...]
    networks: tuple[str, ...]
    volumes: tuple[str, ...]
    files: tuple[Path, ...]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to remove."""
        return not (self.containers or self.networks or self.volumes or self.files)


def up(
    settings: Settings,
    s3: str | None = None,
    *,
    cluster: bool = False,
    watch: Watch | None = None,
    patience: float = PATIENCE,
) -> Started:
    """Build what has changed, start every service, and wait until all are healthy.

    Parameters
    ----------
    settings : Settings
    s3 : str, optional
        One of `S3_SERVERS`; what it was at the last start by default.
    cluster : bool
        Start Spark's master and its workers too.
    watch : Watch, optional
    patience : float
        Seconds for all of it.

    Returns
    -------
    Started

    Raises
    ------
    UsageError
        A port is taken.
    NotFound
        There is no stack, or the keys of an S3 endpoint elsewhere are not there.
    Unreachable
        An image cannot be had, a service fails, or the time is over.
    MachineError
        Docker or Compose is missing or does not answer, or memory or disk is short.
    Refused
        The stack's models are on another S3 server, or another command is changing the stack.
    """
    docker = choose(find_docker(_with_s3(settings, s3)), cluster)
    check_ports(docker)
    told = watch or Unwatched()
    if not docker.ps("{{.ID}}"):
        check_resources(docker, told)
    if docker.stack.last_s3 and f"{docker.stack.project}_db" not in docker.names("volume"):
        # A first start that was broken off while its images were built looks the same.
        known = f"{docker.stack.secrets} has secrets of {docker.stack.project}, which has no volumes"
        told.note(f"{known}: if it held anything, that is gone, and it starts empty.")
    with changing(settings):
        make_secrets(docker)
        remember(docker.stack)
        job = Job(docker, settings, watch, patience)
        job.build()
        finish_rotation(job)
        return Started(docker.stack, job.start(), job.log)


def choose(docker: Docker, cluster: bool = False) -> Docker:
    """Docker set on the stack with the S3 server and the profiles that it is to run with.

    Raises
    ------
    Refused
        The stack's models are on another S3 server, or its passwords are elsewhere.
    NotFound
        The keys of an S3 endpoint elsewhere are not there.
    """
    stack = docker.stack
    if stack.last_s3 not in ("", stack.s3) and f"{stack.project}_db" in docker.names("volume"):
        raise Refused(
            f"The models of this stack are on {stack.last_s3}, and {stack.s3} would not have them",
            f"Take them along: taxiway stack backup, clear, up --s3 {stack.s3}, restore",
        )
    if f"{stack.project}_db" in docker.names("volume") and not (stack.secrets / "db_mlflow_password").exists():
        raise Refused(
            f"The volumes of the stack {stack.project} are here, and their passwords are not in {stack.secrets}",
            "Name the folder that has them with STACK_SECRETS, or start another stack with COMPOSE_PROJECT_NAME",
        )
    missing = [name for name in ("s3_mlflow", "s3_trips") if not (stack.secrets / name).exists()]
    if stack.s3 == "external" and missing:
        raise NotFound(
            f"The key of the S3 endpoint is not in {stack.secrets / missing[0]}",
            "Write it there, as AWS's shared credentials file has it",
        )
    return replace(docker, profiles=_CLUSTER) if cluster else with_cluster(docker)


def with_cluster(docker: Docker) -> Docker:
    """Docker set on the cluster's services too, where there are containers of theirs."""
    services = docker.ps(_SERVICE, "--all")
    return replace(docker, profiles=_CLUSTER) if any(name.startswith("spark_") for name in services) else docker


def remember(stack: StackSettings) -> None:
    """Keep what was chosen, for every later command and for ``make start``; whole, or as it was."""
    file = stack.secrets / STACK_CHOICES
    partial = file.with_name(f"{STACK_CHOICES}.part")
    partial.write_text("".join(f"{name}={value}\n" for name, value in stack.choices.items()), encoding="utf-8")
    partial.replace(file)


def down(settings: Settings) -> tuple[str, ...]:
    """Stop every service; containers, networks and volumes stay as they are.

    Returns
    -------
    tuple of str
        The services that were running.

    Raises
    ------
    NotFound
        There is no stack.
    MachineError
        Docker or Compose is missing or does not answer.
    Refused
        Another command is changing the stack, or it is the one of another folder.
    """
    docker = with_cluster(find_docker(settings))
    _check_folder(docker)
    with changing(settings):
        running = docker.ps(_SERVICE)
        if running:
            docker.compose("stop", patience=_STOPPING)
    return tuple(sorted(running))


def logs(
    settings: Settings, service: str | None = None, *, follow: bool = False, tail: int | None = 200
) -> Iterator[str]:
    """What the services wrote, line by line, each with the name of its container.

    Parameters
    ----------
    settings : Settings
    service : str, optional
        One service; all by default.
    follow : bool
        Go on with what they write from now on, until the iterator is closed.
    tail : int, optional
        So many lines of each at most; None for all.

    Yields
    ------
    str

    Raises
    ------
    UsageError
        There is no service of that name.
    """
    docker = with_cluster(find_docker(settings))
    known = docker.services()
    if service is not None and service not in known:
        raise UsageError(f"The stack has no service '{service}'", did_you_mean(service, known))
    words = ["logs", "--no-color", f"--tail={'all' if tail is None else tail}"]
    words += ["--follow"] if follow else []
    lines = docker.stream(*words, *filter(None, [service]))
    # Compose 1.29 first says whose logs they are.
    yield from (line for line in lines if not line.startswith("Attaching to "))


def plan_clear(settings: Settings) -> Clearing:
    """Everything that belongs to the stack, to be shown before it is removed.

    Raises
    ------
    NotFound
        There is no stack.
    MachineError
        Docker or Compose is missing or does not answer.
    Refused
        The stack of this name is the one of another folder.
    """
    docker = find_docker(settings)
    _check_folder(docker)
    containers = docker.ps("{{.Names}}", "--all", beside=True)
    return Clearing(
        docker,
        tuple(sorted(containers)),
        tuple(docker.names("network")),
        tuple(docker.names("volume")),
        tuple(_secret_files(docker.stack.secrets)),
    )


def clear(plan: Clearing, settings: Settings) -> None:
    """Remove what the plan says. Images stay, and so does every file that is not a secret of the stack.

    Raises
    ------
    Refused
        Another command is changing the stack.
    TaxiwayError
        Docker cannot remove something.
    """
    docker = plan.docker
    with changing(settings):
        if plan.containers:
            docker.run("rm", "--force", "--volumes", *plan.containers, patience=_STOPPING)
        for network in plan.networks:
            docker.run("network", "rm", network)
        for volume in plan.volumes:
            docker.run("volume", "rm", volume, patience=_STOPPING)
        # Last: they open the volumes.
        for file in plan.files:
            file.unlink(missing_ok=True)
        folder = docker.stack.secrets
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _check_folder(docker: Docker) -> None:
    """Refuse what was started from another checkout: Compose knows both by the same name."""
    stack = docker.stack
    if (stack.secrets / "db_mlflow_password").exists():
        return
    for folder in map(Path, docker.ps(_FOLDER, "--all")):
        try:
            elsewhere = folder.is_dir() and not folder.samefile(stack.folder)
        except PermissionError:
            elsewhere = True  # another user's
        if elsewhere:
            raise Refused(
                f"The stack {stack.project} was started from {folder}, and not from {stack.folder}",
                "Go there for it, or name another stack with COMPOSE_PROJECT_NAME",
            )


def _secret_files(folder: Path) -> list[Path]:
    names = [*SECRETS, STACK_CHOICES]
    files = [folder / f"{name}{ending}" for name in names for ending in ("", ".new", ".part", ".new.part")]
    return [file for file in files if file.is_file()]


def _with_s3(settings: Settings, s3: str | None) -> Settings:
    if s3 is None or settings.stack is None:
        return settings
    if s3 not in S3_SERVERS:
        raise UsageError(f"There is no S3 server '{s3}'", did_you_mean(s3, S3_SERVERS))
    return replace(settings, stack=replace(settings.stack, s3=s3))
