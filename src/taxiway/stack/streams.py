"""Programs in the stack's containers with streams to read from and to write to, and their complaints."""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import getpid
from typing import IO

from taxiway.errors import MachineError, TaxiwayError
from taxiway.stack.docker import Docker
from taxiway.stack.faults import explain
from taxiway.stack_settings import StackSettings

_OBJECTS = ("/opt/venv/bin/python", "/opt/create_s3_buckets/objects.py")
_BUCKET_JOB = "create_s3_buckets"
_CHANGED = 3  # what objects.py ends with then
_ENDING = 20.0


class Changed(MachineError):
    """An object of the bucket was replaced or removed while it was read."""


@contextmanager
def program(
    docker: Docker, container: str, *command: str, what: str, stdin: int | IO[bytes] = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a running container beside the block, which reads its output and writes its input.

    Parameters
    ----------
    docker : Docker
    container : str
        Its id or its name.
    *command : str
    what : str
        What it is to do, as in "Docker cannot <what>".
    stdin : file or int
        A file to read from; ``subprocess.PIPE`` for the block to write to. Nothing by default.

    Raises
    ------
    TaxiwayError
        The program failed. What the block raised then came of it.
    """
    arguments = ("docker", "exec", "--interactive", container, *command)
    # What a stream is cut off with, at the end that the block holds.
    cut_off = (BrokenPipeError,) if stdin == subprocess.PIPE else (EOFError, tarfile.TarError)
    with tempfile.TemporaryFile() as complaints, _started(docker, arguments, stdin, complaints) as process:
        try:
            yield process
            _close(process)
            process.wait()
        except cut_off:
            _close(process)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_ENDING)
            if not process.returncode:
                raise
        if process.returncode:
            raise _complaint(complaints, what)


@contextmanager
def bucket_job(docker: Docker) -> Iterator[str]:
    """The name of a container of the bucket job's image that runs for as long as the block.

    It holds MLflow's key of the bucket and reaches the S3 server, which this machine does not. `objects`
    runs programs in it. When this process is killed, it ends too.

    Raises
    ------
    TaxiwayError
        It cannot be started.
    """
    name = f"{docker.stack.project}_objects_{getpid()}"
    run = ("run", "--rm", "-T", "--no-deps", "--name", name, "--entrypoint", _OBJECTS[0])
    arguments = (*docker.compose_command, *run, _BUCKET_JOB, _OBJECTS[1], "hold")
    with (
        tempfile.TemporaryFile() as complaints,
        _started(docker, arguments, subprocess.PIPE, complaints) as process,
    ):
        assert process.stdout is not None  # noqa: S101  # a pipe was asked for
        if process.stdout.readline() != b"ready\n":
            raise _complaint(complaints, "look into the bucket")
        try:
            yield name
        finally:
            _close(process)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_ENDING)


@contextmanager
def objects(
    docker: Docker, job: str, word: str, *, what: str, stdin: int | IO[bytes] = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one word of ``images/create_s3_buckets/objects.py`` in the container of `bucket_job`.

    Raises
    ------
    Changed
        An object was replaced or removed while it was read.
    TaxiwayError
        It failed.
    """
    process: subprocess.Popen[bytes] | None = None
    try:
        with program(docker, job, *_OBJECTS, word, what=what, stdin=stdin) as process:
            yield process
    except TaxiwayError as error:
        if process is not None and process.returncode == _CHANGED:
            raise Changed(error.message, "Run it again") from error
        raise


def check_running(docker: Docker) -> None:
    """Refuse to begin when the database or the S3 server is not there.

    Raises
    ------
    NotFound
        Which one, and how to start it.
    """
    for service in stores(docker.stack):
        docker.container_of(service)


def stores(stack: StackSettings) -> tuple[str, ...]:
    """The services that keep data, of which an S3 server elsewhere is none."""
    return ("db",) if stack.s3 == "external" else ("db", "s3")


@contextmanager
def _started(
    docker: Docker, arguments: tuple[str, ...], stdin: int | IO[bytes], complaints: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        arguments,
        cwd=docker.stack.folder,
        env=docker.environment,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=complaints,
        # Ctrl-C reaches Taxiway alone, which then ends them in order.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        _close(process)
        if process.stdout is not None:
            process.stdout.close()
        process.wait()


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()


def _complaint(complaints: IO[bytes], what: str) -> TaxiwayError:
    complaints.seek(0)
    return explain(complaints.read().decode(errors="replace"), what)
