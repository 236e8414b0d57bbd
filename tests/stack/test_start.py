"""Start, end, start, clear: what runs and how it is locked, what is kept, and what alone is removed."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from containers import ROOT, SERVICES, WORK, Stack, docker, images, run

pytestmark = pytest.mark.s3

ALL = (*SERVICES, "create_s3_buckets")
PUBLISHED = {"jupyterlab_spark": {"8888/tcp": "jupyter_port"}, "mlflow_server": {"5000/tcp": "mlflow_port"}}
CONSOLE = {"s3": {"9001/tcp": "console_port"}}


@pytest.fixture
def kept(stack: Stack) -> dict[str, Any]:
    """A file that a user saved in JupyterLab, and a run with an artifact in MLflow."""
    text = uuid4().hex
    session = requests.Session()
    session.headers["Authorization"] = f"token {stack.token}"
    saved = session.put(
        f"{stack.jupyter_url}/api/contents/work/kept.txt",
        json={"type": "file", "format": "text", "content": text},
        timeout=30,
    )
    saved.raise_for_status()
    experiment = stack.mlflow("experiments/create", "taxiway", name=f"kept-{text}")["experiment_id"]
    run = stack.mlflow("runs/create", "taxiway", experiment_id=experiment)["run"]["info"]
    stack.mlflow("runs/log-parameter", "taxiway", run_id=run["run_id"], key="text", value=text)
    artifact(stack, "PUT", run["artifact_uri"], text)
    return {"text": text, "run": run}


def artifact(stack: Stack, method: str, location: str, text: str | None = None) -> requests.Response:
    """Write or read an artifact through MLflow's proxy."""
    place = location.removeprefix("mlflow-artifacts:/").lstrip("/")
    answer = requests.request(
        method,
        f"{stack.mlflow_url}/api/2.0/mlflow-artifacts/artifacts/{place}/kept.txt",
        data=text,
        auth=("taxiway", stack.accounts["taxiway"]),
        timeout=60,
    )
    answer.raise_for_status()
    return answer


def assert_kept(stack: Stack, kept: dict[str, Any]) -> None:
    text, location = kept["text"], kept["run"]["artifact_uri"]
    assert stack.exec("jupyterlab_spark", "cat", f"{WORK}/kept.txt").stdout == text
    found = stack.mlflow(f"runs/get?run_id={kept['run']['run_id']}", "reader")["run"]
    assert found["data"]["params"] == [{"key": "text", "value": text}]
    assert artifact(stack, "GET", location).text == text


def test_every_service_is_healthy_and_the_buckets_are_made(stack: Stack) -> None:
    assert {service: stack.health(service) for service in SERVICES} == dict.fromkeys(SERVICES, "healthy")
    state = stack.inspect("create_s3_buckets")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)


def test_start_prints_a_link_that_opens_jupyterlab(stack: Stack) -> None:
    said = stack.shell("start").stdout
    link = next(word for word in said.split() if "token=" in word)
    session = requests.Session()
    assert link.startswith(f"{stack.jupyter_url}/lab")
    assert "jupyter-config-data" in session.get(link, timeout=30).text
    notebooks = session.get(f"{stack.jupyter_url}/api/contents/work", timeout=30).json()["content"]
    assert {"nyc_traffic_taxi_model.ipynb", "model_management.ipynb"} <= {entry["name"] for entry in notebooks}


def test_only_what_people_use_is_published_and_on_loopback_alone(stack: Stack) -> None:
    expected = {**PUBLISHED, **(CONSOLE if stack.s3 == "minio" else {})}
    for service in ALL:
        ports = stack.inspect(service)["NetworkSettings"]["Ports"] or {}
        found = {port: bindings for port, bindings in ports.items() if bindings}
        wanted = {
            port: [{"HostIp": "127.0.0.1", "HostPort": str(getattr(stack, name))}]
            for port, name in expected.get(service, {}).items()
        }
        assert found == wanted, service


@pytest.mark.parametrize("service", ALL)
def test_every_container_is_locked_by_its_settings(stack: Stack, service: str) -> None:
    found = stack.inspect(service)
    host = found["HostConfig"]
    assert found["Config"]["User"].split(":")[0] not in ("", "0", "root")
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Privileged"]
    assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"])
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0
    assert host["LogConfig"]["Type"] == "json-file"
    assert {"max-size", "max-file"} <= set(host["LogConfig"]["Config"])
    assert not any("docker.sock" in mount["Source"] for mount in found["Mounts"])


@pytest.mark.parametrize("service", SERVICES)
def test_the_kernel_says_the_same(stack: Stack, service: str) -> None:
    status = stack.exec(service, "cat", "/proc/1/status").stdout
    facts = {key: value.split() for key, _, value in (line.partition(":") for line in status.splitlines())}
    assert all(int(number) > 0 for number in facts["Uid"])
    assert {int(facts[name][0], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert facts["NoNewPrivs"] == ["1"]
    refused = stack.exec(service, "touch", "/etc/left-behind", check=False)
    assert refused.returncode != 0
    assert "ead-only" in refused.stderr


def test_no_secret_is_in_settings_images_logs_processes_or_environments(stack: Stack) -> None:
    places = {
        "settings": json.dumps([stack.inspect(service) for service in ALL]),
        "logs": stack.logs(),
        "host's processes": run("ps", "-eww", "-o", "args").stdout,
    }
    for service in ALL:
        image = stack.inspect(service)["Image"]
        history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}} {{.Comment}}", image).stdout
        places[f"image of {service}"] = history + docker("image", "inspect", image).stdout
    for service in SERVICES:
        # What belongs to another process may end, or be closed to us, while we read.
        script = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'; true"
        places[f"processes of {service}"] = stack.exec(service, "sh", "-c", script).stdout
    values = secret_values(stack)
    assert len(values) >= 13
    for place, text in places.items():
        assert len(text) > 100, place
        assert not [name for name, value in values.items() if value in text], place


def secret_values(stack: Stack) -> dict[str, str]:
    """Every password and key, the lines of a credentials file one by one."""
    found = {}
    for file in sorted(stack.secrets.iterdir()):
        if file.name == "stack.env":
            continue
        for line in file.read_text(encoding="utf-8").splitlines():
            name, _, value = line.rpartition("=")
            if not line.startswith("["):
                found[f"{file.name} {name}".strip()] = value.strip()
    return found


def test_secrets_are_their_owners_and_differ(stack: Stack) -> None:
    assert stat.S_IMODE(stack.secrets.stat().st_mode) == 0o700
    files = [file for file in stack.secrets.iterdir() if file.name != "stack.env"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o444}
    assert {file.stat().st_uid for file in files} == {stack.secrets.stat().st_uid}
    values = list(secret_values(stack).values())
    assert len(set(values)) == len(values)
    assert min(map(len, values)) >= 20


def test_the_default_folder_of_secrets_can_get_neither_into_git_nor_into_an_image() -> None:
    assert run("git", "check-ignore", ".secrets/db_password", check=False).returncode == 0
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    assert "*" in rules
    assert not any(Path(".secrets/db_password").match(rule) or rule.startswith((".", "*")) for rule in let_in)


def test_a_second_start_changes_nothing(stack: Stack) -> None:
    def marks() -> dict[str, tuple[str, str]]:
        found = {service: stack.inspect(service) for service in SERVICES}
        return {service: (facts["Id"], facts["State"]["StartedAt"]) for service, facts in found.items()}

    before, secrets = marks(), secret_values(stack)
    stack.shell("start")
    assert marks() == before
    assert secret_values(stack) == secrets


def test_end_and_start_lose_nothing(stack: Stack, kept: dict[str, Any]) -> None:
    stack.shell("end")
    assert {service: stack.health(service) for service in SERVICES} == dict.fromkeys(SERVICES, "stopped")
    # As an upgrade does, or somebody by hand: what is kept lies in volumes alone.
    stack.compose("down")
    stack.shell("start")
    stack.wait_healthy()
    assert_kept(stack, kept)


def test_memory_at_rest_is_bounded(stack: Stack) -> None:
    if not stack.rest:
        pytest.skip("the stack was running already, and not at rest")
    mlflow = next(amount for name, amount in stack.rest.items() if "mlflow_server" in name)
    assert mlflow < 450
    assert sum(stack.rest.values()) < 1024


def test_mlflows_server_is_one_process(stack: Stack) -> None:
    """Its command would stay beside it and hold as much memory again."""
    listed = docker("top", stack.container("mlflow_server"), "-eo", "pid,args").stdout.splitlines()
    assert len([line for line in listed if "python" in line]) == 1


@pytest.fixture
def strangers(docker_engine: None) -> Iterator[dict[str, str]]:
    """A container, a network and a volume of somebody else."""
    name = f"stranger-{uuid4().hex[:8]}"
    docker("network", "create", name)
    docker("volume", "create", name)
    image = images().get("STACK_BASE", "debian:trixie-slim")
    options = ("--detach", "--name", name, "--network", name, "--volume", f"{name}:/data")
    container = docker("run", *options, image, "sleep", "infinity").stdout.strip()
    yield {"container": container, "network": name, "volume": name}
    docker("rm", "--force", name)
    docker("network", "rm", name)
    docker("volume", "rm", name)


def test_clear_removes_this_project_and_nothing_else(stack: Stack, strangers: dict[str, str], tmp_path: Path) -> None:
    other = Stack(**{**vars(stack), "project": f"{stack.project}-other", "secrets": tmp_path / "secrets"})
    run("sh", "images/secrets.sh", str(other.secrets))
    other.compose("up", "--detach", "db")
    assert all(belongings(other.project).values())
    before = belongings(stack.project)
    (other.secrets / "mine.txt").write_text("no secret of the stack")
    silent = replace(other, variables={**other.variables, "STACK_YES": ""})
    assert "no terminal to ask on" in silent.shell("clear", check=False).stderr
    assert all(belongings(other.project).values())
    other.shell("clear")
    assert belongings(other.project) == {"container": [], "network": [], "volume": []}
    assert [file.name for file in other.secrets.iterdir()] == ["mine.txt"]
    assert belongings(stack.project) == before
    for kind, name in strangers.items():
        assert docker(kind, "inspect", name).stdout
    assert json.loads(docker("inspect", strangers["container"]).stdout)[0]["State"]["Running"]
    stack.wait_healthy()


def test_secrets_of_another_stack_are_neither_used_nor_removed(stack: Stack, tmp_path: Path) -> None:
    before = {file.name: file.read_bytes() for file in stack.secrets.iterdir()}
    other = replace(stack, project=f"{stack.project}-other")
    for word in ("start", "clear"):
        refused = other.shell(word, check=False)
        assert refused.returncode == 7
        assert f"are of the stack {stack.project}" in refused.stderr
    assert {file.name: file.read_bytes() for file in stack.secrets.iterdir()} == before
    elsewhere = replace(stack, secrets=tmp_path / "secrets")
    refused = elsewhere.shell("start", check=False)
    assert refused.returncode == 7
    assert "their passwords are not in" in refused.stderr
    assert not elsewhere.secrets.exists()
    assert "their passwords are not in" in elsewhere.taxiway("stack", "up").stderr


def test_a_stack_of_the_same_name_is_neither_stopped_nor_removed_from_another_folder(
    stack: Stack, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "another checkout"
    shutil.copytree(ROOT / "images", elsewhere / "images")
    for file in ROOT.glob("compose*.yaml"):
        shutil.copy(file, elsewhere)
    environment = {**stack.environment, "STACK_SECRETS": str(tmp_path / "secrets"), "TAXIWAY_STACK": str(elsewhere)}
    before = belongings(stack.project)
    script = str(elsewhere / "images" / "stack.sh")
    command = (stack.taxiway_command, "stack")
    for words in (("sh", script, "end"), ("sh", script, "clear"), (*command, "down"), (*command, "clear", "--yes")):
        refused = run(*words, env=environment, cwd=tmp_path, check=False)
        assert refused.returncode == 7, refused.stderr
        assert f"he stack {stack.project} was started from {ROOT}" in refused.stderr
        assert refused.stderr.count("\n") == 1
    assert belongings(stack.project) == before
    stack.wait_healthy()


def belongings(project: str) -> dict[str, list[str]]:
    """Containers, networks and volumes of a Compose project."""
    label = ("--filter", f"label=com.docker.compose.project={project}")
    return {
        "container": sorted(docker("ps", "--all", "--quiet", *label).stdout.split()),
        "network": sorted(docker("network", "ls", "--quiet", *label).stdout.split()),
        "volume": sorted(docker("volume", "ls", "--quiet", *label).stdout.split()),
    }
