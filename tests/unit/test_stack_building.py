"""How far the images are, from what each builder writes."""

from __future__ import annotations

from pathlib import Path

from taxiway.stack.building import BuildLog

BUILDKIT = """\
#1 [mlflow_server internal] load build definition from Dockerfile
#14 [s3 stage-1 2/5] RUN apt-get update
#15 [mlflow_server 3/9] RUN python3 -m venv /opt/venv
#15 CACHED
#16 [s3] exporting to image
 s3  Built
 ✔ Image taxiway/create_s3_buckets:0.1.0  Built
"""
OLD_BUILDER = """\
Pulling db (postgres:18.6-trixie)...
Building s3
Step 1/6 : ARG BASE=debian:13.6-slim
Step 2/6 : FROM ${BASE}
Successfully built 0a1b2c3d
Successfully tagged taxiway/s3:0.1.0
Building mlflow_server
Step 4/9 : COPY requirements.lock /tmp/
Successfully built mlflow-taxiway
"""


def read(tmp_path: Path, text: str) -> dict[str, str]:
    file = tmp_path / "stack.log"
    file.write_text(text, encoding="utf-8")
    return BuildLog(file).read()


def test_buildkit(tmp_path: Path) -> None:
    assert read(tmp_path, BUILDKIT) == {"mlflow_server": "step 3 of 9"}
    assert read(tmp_path, BUILDKIT[: BUILDKIT.index(" s3  Built")]) == {
        "mlflow_server": "step 3 of 9",
        "s3": "writing the image",
    }


def test_the_builder_of_compose_1(tmp_path: Path) -> None:
    assert read(tmp_path, OLD_BUILDER) == {"db": "pulling the image", "mlflow_server": "step 4 of 9"}


def test_pulled_images(tmp_path: Path) -> None:
    assert read(tmp_path, " db Pulling \n") == {"db": "pulling the image"}
    assert read(tmp_path, " db Pulling \n db Pulled \n") == {}


def test_a_log_is_read_as_it_grows_and_a_line_only_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "stack.log"
    file.write_text("an earlier command\n")
    log = BuildLog(file, file.stat().st_size)
    with file.open("a") as stream:
        stream.write("#15 [mlflow_server 3/9] RUN a\n#15 [mlflow_server 4/")
    assert log.read() == {"mlflow_server": "step 3 of 9"}
    with file.open("a") as stream:
        stream.write("9] RUN b\n")
    assert log.read() == {"mlflow_server": "step 4 of 9"}
