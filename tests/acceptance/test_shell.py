"""Whatever the user's shell says: Spark starts as the settings describe it, or one line names the variable."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from services import missing
from trip_files import green_trips, write_trips

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]

MONTH = "green:2023-01"
ELSEWHERE = """<configuration>
<property><name>fs.defaultFS</name><value>hdfs://nowhere.invalid:9</value></property>
</configuration>
"""


@pytest.fixture
def trips(tmp_path: Path) -> Path:
    """A month of trips in a folder whose name no single encoding but UTF-8 can write."""
    folder = tmp_path / "viagens é 日本"
    write_trips(folder, MONTH, green_trips(300, "2023-01", 1))
    return folder


def test_a_shell_that_is_set_up_for_another_spark(run_taxiway: Run, trips: Path, tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "core-site.xml").write_text(ELSEWHERE)
    (conf / "spark-defaults.conf").write_text("spark.master spark://nowhere.invalid:7077\n")
    (conf / "spark-env.sh").write_text("exit 3\n")
    home = tmp_path / "casa é 日本"
    shell = {
        "TAXIWAY_HOME": str(home),
        "SPARK_HOME": "/opt/another-spark",
        "SPARK_CONF_DIR": str(conf),
        "HADOOP_CONF_DIR": str(conf),
        "PYSPARK_SUBMIT_ARGS": "--master spark://nowhere.invalid:7077",
        "SPARK_REMOTE": "sc://nowhere.invalid",
        "SPARK_LOCAL_DIRS": "",
        "JAVA_TOOL_OPTIONS": "-XX:+UseG1GC -Xms256m",
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
        "http_proxy": "http://127.0.0.1:9",
    }
    out = Path("rejeitadas é 日本")
    done = run_taxiway("trips", MONTH, "--trips-source", trips, "--rejected", out, env=shell, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "300" in done.stdout
    assert "Picked up" not in done.stdout + done.stderr
    work = tmp_path / "work"
    assert list((work / out).rglob("*.parquet")), "the name is written as it was typed"
    assert {path.name for path in work.iterdir()} == {out.name}
    assert {path.name for path in tmp_path.iterdir()} == {"conf", "work", home.name, trips.name}


def test_a_user_without_a_name_or_a_home_where_temporary_files_may_not_be_run(
    taxiway_command: str, java_home: str, trips: Path, tmp_path: Path
) -> None:
    unshare = shutil.which("unshare") or "unshare"
    outer = [unshare, "--user", "--map-root-user", "--mount", "sh", "-ec"]
    nameless = f"exec {unshare} --user --map-user=12345 --map-group=12345"
    if not shutil.which("unshare") or subprocess.run([*outer, f"{nameless} true"], check=False).returncode:
        missing("Linux namespaces for a user, to run a command as nobody that the system knows")
    (tmp_path / "noexec").mkdir()
    script = f'mount -t tmpfs -o noexec tmpfs "{tmp_path}/noexec"; {nameless} "$@"'
    bare = {"PATH": "/usr/bin:/bin", "JAVA_HOME": java_home, "JAVA_TOOL_OPTIONS": f"-Djava.io.tmpdir={tmp_path}/noexec"}

    def run(*arguments: str | Path, **env: str) -> Done:
        return subprocess.run(
            [*outer, script, "sh", taxiway_command, *map(str, arguments)],
            cwd=tmp_path,
            env={**bare, **env},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    done = run("settings")
    assert (done.returncode, done.stdout) == (2, "")
    assert "TAXIWAY_HOME has to name one" in done.stderr
    done = run("trips", MONTH, "--trips-source", trips, TAXIWAY_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert "300" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"home", "noexec", trips.name}


@pytest.mark.parametrize(
    ("variables", "code", "words"),
    [
        ({"JAVA_TOOL_OPTIONS": "-XX:+UseNothing"}, 2, "options in JAVA_TOOL_OPTIONS (Unrecognized VM option"),
        ({"_JAVA_OPTIONS": "-XX:+UseG1GC -XX:+UseSerialGC"}, 2, "_JAVA_OPTIONS (Multiple garbage collectors"),
        ({"SPARK_DRIVER_MEMORY": "much"}, 2, "SPARK_DRIVER_MEMORY"),
        ({"PYSPARK_GATEWAY_PORT": "9", "PYSPARK_GATEWAY_SECRET": "x"}, 6, "PYSPARK_GATEWAY_PORT names a Spark"),
    ],
)
def test_what_keeps_java_from_starting_is_named_and_not_an_earlier_failure(
    variables: dict[str, str], code: int, words: str, run_taxiway: Run, trips: Path, tmp_path: Path
) -> None:
    log = tmp_path / "home" / "logs" / "spark.log"
    log.parent.mkdir(parents=True)
    log.write_text("Error: an earlier failure\njava.io.IOException: of another day\n")
    began = monotonic()
    done = run_taxiway("trips", MONTH, "--trips-source", trips, env=variables)
    assert monotonic() - began < 60
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr.splitlines()[-1]
    assert "earlier" not in done.stderr
    assert "another day" not in done.stderr
    if code == 2:
        doctor = run_taxiway("doctor", "--trips-source", trips, env=variables)
        line = next(line for line in doctor.stdout.splitlines() if " java " in line)
        assert line.startswith("FAIL")
        assert words in line


def test_a_home_that_spark_would_take_for_two(run_taxiway: Run, trips: Path, tmp_path: Path) -> None:
    env = {"TAXIWAY_HOME": str(tmp_path / "a,b"), "TAXIWAY_SHARED": "~nobody-of-that-name/x"}
    done = run_taxiway("trips", MONTH, "--trips-source", trips, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert "a,b has a comma in it" in done.stderr
    assert "~nobody-of-that-name/x is in a home folder that this system does not know" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"work", trips.name}


def test_a_locale_in_which_python_would_not_speak_utf8(run_taxiway: Run, tmp_path: Path) -> None:
    legacy = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    seen = subprocess.run(
        [sys.executable, "-c", "import sys; print(sys.getfilesystemencoding())"],
        env=legacy,
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout != "utf-8\n", "the test would prove nothing"
    done = run_taxiway("settings", "--json", env={**legacy, "TAXIWAY_HOME": str(tmp_path / "é")})
    assert done.returncode == 0, done.stderr
    assert "\\u00e9" in done.stdout
