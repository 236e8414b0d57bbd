"""What Docker and Compose write, as one line of ours. The texts are theirs, from several versions."""

from __future__ import annotations

import pytest

from taxiway.errors import MachineError, TaxiwayError, Unreachable, UsageError
from taxiway.stack.faults import explain, explain_daemon, last_line, recognise, telling_line

BUILDKIT = """\
#14 [mlflow_server venv 4/7] RUN /opt/venv/bin/pip install --require-hashes -r /tmp/requirements.lock
#14 2.113 Collecting mlflow==3.17.2
#14 3.402 ERROR: Could not find a version that satisfies the requirement mlflow==3.17.2 (from versions: none)
#14 3.403 ERROR: No matching distribution found for mlflow==3.17.2
#14 ERROR: process "/bin/sh -c pip install" did not complete successfully: exit code: 1
------
 > [mlflow_server venv 4/7] RUN /opt/venv/bin/pip install --require-hashes -r /tmp/requirements.lock:
3.402 ERROR: Could not find a version that satisfies the requirement mlflow==3.17.2 (from versions: none)
3.403 ERROR: No matching distribution found for mlflow==3.17.2
------
failed to solve: process "/bin/sh -c pip install" did not complete successfully: exit code: 1
"""
OLD_BUILDER = """\
Building s3
Step 3/6 : RUN apt-get update
Err:1 http://debian.example.org/debian trixie InRelease
  Temporary failure resolving 'debian.example.org'
E: Unable to locate package curl
The command '/bin/sh -c apt-get update' returned a non-zero code: 100
Service 's3' failed to build : Build failed
"""


@pytest.mark.parametrize(
    ("output", "kind", "words"),
    [
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            MachineError,
            "Docker does not answer",
        ),
        (
            "failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct",
            MachineError,
            "Docker does not answer",
        ),
        ("Couldn't connect to Docker daemon at http+docker://localhost - is it running?", MachineError, "Start it"),
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
            'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.47/version": dial unix /var/run/docker.sock: connect: '
            "permission denied",
            MachineError,
            "permission denied on its socket. Add the user to the group docker",
        ),
        (
            "Error response from daemon: driver failed programming external connectivity on endpoint "
            "taxiway-jupyterlab_spark-1 (0a1b): Bind for 127.0.0.1:8888 failed: port is already allocated",
            UsageError,
            "Port 8888 is taken by another program",
        ),
        (
            "Error response from daemon: failed to set up container networking: driver failed programming external "
            "connectivity on endpoint taxiway-mlflow_server-1: failed to bind host port 127.0.0.1:5000/tcp: "
            "address already in use",
            UsageError,
            "Port 5000 is taken by another program",
        ),
        (
            "ERROR: for db  manifest for postgres:99 not found: manifest unknown: manifest unknown",
            Unreachable,
            "The image postgres:99 cannot be had",
        ),
        (
            "Error response from daemon: pull access denied for acme/s3, repository does not exist or may require "
            "'docker login': denied: requested access to the resource is denied",
            Unreachable,
            "The image acme/s3 cannot be had",
        ),
        (
            "failed to solve: debian:13.6-slim: failed to resolve source metadata for "
            "docker.io/library/debian:13.6-slim: failed to do request: Head "
            '"https://registry-1.docker.io/v2/library/debian/manifests/13.6-slim": dial tcp: lookup '
            "registry-1.docker.io: no such host",
            Unreachable,
            "The image debian:13.6-slim cannot be had",
        ),
        (
            "#3 [create_s3_buckets internal] load metadata for docker.io/library/debian:13.6-slim\n------\n"
            " > [create_s3_buckets internal] load metadata for docker.io/library/debian:13.6-slim:\n------\n"
            "failed to solve: rpc error: code = Unknown desc = failed to solve with frontend dockerfile.v0: failed to "
            'create LLB definition: failed to do request: Head "https://registry-1.docker.io/v2/": no such host\n',
            Unreachable,
            "The image debian:13.6-slim cannot be had: failed to do request: Head",
        ),
        (
            ' db Pulling \n db Error Get "https://registry-1.docker.io/v2/": dial tcp: no such host\n'
            'Error response from daemon: Get "https://registry-1.docker.io/v2/": dial tcp: no such host\n',
            Unreachable,
            "The image of db cannot be had: Error response from daemon: Get",
        ),
        (
            "Pulling s3 (acme/s3:1)...\nPulling db (postgres:18.6-trixie)...\n"
            "Get https://registry-1.docker.io/v2/: dial tcp: lookup registry-1.docker.io: no such host\n",
            Unreachable,
            "The image postgres:18.6-trixie cannot be had: Get https://registry-1.docker.io",
        ),
        ("write /var/lib/docker/tmp/x: no space left on device", MachineError, "The disk that Docker keeps its data"),
        (
            BUILDKIT,
            MachineError,
            "The image of mlflow_server cannot be built: ERROR: No matching distribution found for mlflow==3.17.2",
        ),
        (OLD_BUILDER, MachineError, "The image of s3 cannot be built: E: Unable to locate package curl"),
        (
            'target jupyterlab_spark: failed to solve: process "/bin/sh -c mvn" did not complete successfully\n'
            "#9 12.3 [ERROR] Could not transfer artifact: Connection timed out\n",
            Unreachable,
            "The image of jupyterlab_spark cannot be built: [ERROR] Could not transfer artifact",
        ),
    ],
)
def test_what_docker_writes_becomes_one_clear_line(output: str, kind: type[TaxiwayError], words: str) -> None:
    found = explain(output, "start the services", "/home/ana/.taxiway/logs/stack.log")
    assert type(found) is kind
    assert words in str(found)
    assert "\n" not in str(found)


def test_what_nobody_knows_is_told_with_the_line_that_says_most() -> None:
    output = "some words\nError response from daemon: the moon is not in place\n  \n"
    assert recognise(output) is None
    found = explain(output, "start the services", "/logs/stack.log")
    assert type(found) is MachineError
    assert str(found) == (
        "Docker cannot start the services: Error response from daemon: the moon is not in place. See /logs/stack.log"
    )


def test_a_program_that_says_nothing_is_still_a_whole_sentence() -> None:
    assert "it does not say why" in str(explain("", "start the services"))


def test_a_build_that_lacks_a_permission_is_not_dockers_own() -> None:
    assert explain_daemon("#12 PermissionError: [Errno 13] Permission denied: '/opt/docker'") is None


def test_a_long_line_is_cut() -> None:
    assert len(last_line("x" * 1000)) == 300
    assert telling_line("error " * 200).endswith("…")
