"""What Spark's Java is launched with: which of the shell's variables count, and why a JVM refuses to start."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from taxiway import launch
from taxiway.errors import MachineError, TaxiwayError, UsageError
from taxiway.launch import (
    JAVA_VARIABLES,
    LEFT_OUT,
    OF_CLUSTERS,
    as_environment,
    collector,
    launch_environment,
    own_options,
    passed_over,
    quoted,
    refusal,
)
from taxiway.settings import Settings

OURS = Path("/venv/pyspark")
JAVA = Path("/jvm/17")


def launched(given: dict[str, str], *, local: bool = True, chosen: tuple[str, ...] = ()) -> dict[str, str]:
    return launch_environment(given, OURS, JAVA, local=local, chosen=chosen)


def test_the_installed_spark_and_the_java_that_was_found_win() -> None:
    seen = launched({"SPARK_HOME": "/opt/spark", "JAVA_HOME": "/jvm/8", "PATH": "/bin"})
    assert (seen["SPARK_HOME"], seen["JAVA_HOME"], seen["PATH"]) == (str(OURS), str(JAVA), "/bin")


def test_a_link_to_the_installed_spark_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "pyspark").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pyspark")
    given = {"SPARK_HOME": str(tmp_path / "link")}
    assert launch_environment(given, tmp_path / "pyspark", JAVA, local=True)["SPARK_HOME"] == str(tmp_path / "link")
    assert passed_over(given, tmp_path / "pyspark", local=True) == ()


def test_what_describes_a_cluster_counts_on_a_cluster_alone() -> None:
    given = dict.fromkeys((*LEFT_OUT, *OF_CLUSTERS), "/etc/hadoop")
    assert not launched(given).keys() & given.keys()
    assert launched(given, local=False).keys() & given.keys() == set(OF_CLUSTERS)
    assert passed_over({**given, "SPARK_HOME": "/opt/spark"}, OURS, local=True) == ("SPARK_HOME", *given)
    assert passed_over(given, OURS, local=False) == LEFT_OUT


def test_an_empty_variable_counts_as_unset() -> None:
    given = dict.fromkeys(("SPARK_LOCAL_DIRS", "SPARK_LOCAL_IP", "JAVA_TOOL_OPTIONS", "HADOOP_USER_NAME"), " ")
    seen = launched({**given, "EMPTY": ""})
    assert seen["SPARK_LOCAL_IP"] == "127.0.0.1"
    assert seen["EMPTY"] == ""
    assert seen.keys() & given.keys() == {"SPARK_LOCAL_IP"}
    assert "SPARK_LOCAL_IP" not in launched(given, local=False)


def test_a_setting_wins_over_the_variable_of_the_same_thing() -> None:
    given = {"SPARK_LOCAL_DIRS": "/scratch"}
    assert launched(given)["SPARK_LOCAL_DIRS"] == "/scratch"
    assert "SPARK_LOCAL_DIRS" not in launched(given, chosen=("spark.local.dir",))


def test_java_speaks_utf8_whatever_the_locale() -> None:
    assert launched({"LC_ALL": "C", "LANG": "pt_BR.ISO-8859-1"})["LC_ALL"].lower().replace("-", "").endswith("utf8")


def test_a_first_heap_that_is_larger_than_the_launchers() -> None:
    assert "SPARK_LAUNCHER_OPTS" not in launched({"JAVA_TOOL_OPTIONS": "-Xmx4g"})
    assert launched({"JAVA_TOOL_OPTIONS": "-Xms512m"})["SPARK_LAUNCHER_OPTS"] == "-Xms8m"


@pytest.mark.parametrize("name", JAVA_VARIABLES)
def test_a_collector_of_the_users_is_the_only_one(name: str) -> None:
    assert collector({name: "-Xss4m -XX:+UseG1GC"}) == ()
    assert collector({name: "-XX:-UseG1GC -XX:+UseStringDeduplication"}) == ("-XX:+UseParallelGC",)


def test_options_survive_the_launcher() -> None:
    import shlex

    options = ["-Da=b", "-Dc=d e", '-Df="g"', "-Dh=i\\j", "-Dk=l'm", "-Dn=é"]
    assert shlex.split(quoted(options)) == options


def test_the_environment_is_lent_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THERE", "before")
    before = dict(os.environ)
    with as_environment({"OTHER": "1"}):
        assert dict(os.environ) == {"OTHER": "1"}
    assert dict(os.environ) == before


def noexec(monkeypatch: pytest.MonkeyPatch, *folders: str) -> None:
    monkeypatch.setattr(launch, "_loads_libraries", lambda folder: str(folder) not in folders)
    monkeypatch.setattr("taxiway.launch.sys.platform", "linux")


def test_a_temporary_folder_of_its_own_only_where_it_is_needed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = settings.home / "spark" / "tmp"
    noexec(monkeypatch, "/nx", "/tmp")  # noqa: S108  # Java's own
    assert own_options(settings, {"JAVA_TOOL_OPTIONS": "-Djava.io.tmpdir=/fine"}) == ()
    assert not own.exists()
    for given in ({}, {"JAVA_TOOL_OPTIONS": "-Djava.io.tmpdir=/nx"}):
        assert own_options(settings, given) == (f"-Djava.io.tmpdir={own}",)
    assert own.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("variables", "spark", "remedy"),
    [
        ({"_JAVA_OPTIONS": "-Djava.io.tmpdir=/nx"}, {}, "out of _JAVA_OPTIONS"),
        ({}, {"spark.driver.extraJavaOptions": "-Djava.io.tmpdir=/nx"}, "out of spark.driver.extraJavaOptions"),
        ({"JAVA_TOOL_OPTIONS": "-Djava.io.tmpdir=/nx"}, {}, "Set TAXIWAY_HOME"),
    ],
)
def test_no_folder_to_load_libraries_from(
    variables: dict[str, str],
    spark: dict[str, str],
    remedy: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noexec(monkeypatch, "/nx", str(settings.home / "spark" / "tmp"))
    with pytest.raises(MachineError, match="decompressors from /nx") as caught:
        own_options(replace(settings, spark=spark), variables)
    assert remedy in caught.value.remedy


def test_a_user_whom_the_system_does_not_know(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    noexec(monkeypatch)
    monkeypatch.setattr(launch, "user_name", lambda: "")
    monkeypatch.setenv("HADOOP_USER_NAME", "ana")
    assert own_options(settings, {}) == ("-Duser.name=ana", f"-Duser.home={settings.home}")


NOT_MADE = (
    "Error: Could not create the Java Virtual Machine.\nError: A fatal exception has occurred. Program will exit."
)


# What Java 17 says, seen.
@pytest.mark.parametrize(
    ("said", "variables", "kind", "words"),
    [
        (
            f"Picked up JAVA_TOOL_OPTIONS: -XX:+Foo\nUnrecognized VM option 'Foo'\n{NOT_MADE}",
            {"JAVA_TOOL_OPTIONS": "-XX:+Foo", "JDK_JAVA_OPTIONS": "-Dx=y"},
            UsageError,
            "options in JAVA_TOOL_OPTIONS (Unrecognized VM option 'Foo'). Correct or unset JAVA_TOOL_OPTIONS",
        ),
        (
            "Error occurred during initialization of VM\nMultiple garbage collectors selected",
            {"_JAVA_OPTIONS": "-XX:+UseZGC -XX:+UseG1GC", "JAVA_TOOL_OPTIONS": "-Dx=y"},
            UsageError,
            "in _JAVA_OPTIONS (Multiple garbage collectors selected)",
        ),
        (
            "NOTE: Picked up JDK_JAVA_OPTIONS: foo\n"
            "Error: Cannot specify main class in environment variable JDK_JAVA_OPTIONS",
            {"JDK_JAVA_OPTIONS": "foo"},
            UsageError,
            "options in JDK_JAVA_OPTIONS (Cannot specify main class",
        ),
        (
            "Error opening zip file or JAR manifest missing : /x/a.jar\nError occurred during initialization of VM\n"
            "agent library failed Agent_OnLoad: instrument",
            {"JAVA_TOOL_OPTIONS": "-javaagent:/x/a.jar", "SPARK_SUBMIT_OPTS": "-Dx=y"},
            UsageError,
            "options in JAVA_TOOL_OPTIONS (Error opening zip file or JAR manifest missing : /x/a.jar)",
        ),
        (
            "Error occurred during initialization of VM\n"
            "Initial heap size set to a larger value than the maximum heap size",
            {"JAVA_TOOL_OPTIONS": "-Xms90g"},
            UsageError,
            "options in JAVA_TOOL_OPTIONS (Initial heap size",
        ),
        (
            f"Invalid maximum heap size: -Xmx8x\n{NOT_MADE}",
            {"JAVA_TOOL_OPTIONS": "-Dx=y"},
            UsageError,
            "Correct spark.driver.memory, or SPARK_DRIVER_MEMORY",
        ),
        (
            "Error occurred during initialization of VM\nCould not reserve enough space for 90000000KB object heap",
            {},
            MachineError,
            "does not get the memory",
        ),
        (f"Unrecognized VM option 'Foo'\n{NOT_MADE}", {}, MachineError, "Java does not start (Unrecognized VM"),
        (
            "Error: Not allowed to specify max heap(Xmx) memory settings through java options (was -Xmx1g).",
            {"JAVA_TOOL_OPTIONS": "-Dx=y"},
            UsageError,
            "Spark does not take a setting (Not allowed",
        ),
    ],
)
def test_why_a_jvm_did_not_start(said: str, variables: dict[str, str], kind: type[TaxiwayError], words: str) -> None:
    found = refusal(said, variables)
    assert type(found) is kind
    assert words in str(found)


def test_a_log_that_says_nothing() -> None:
    assert refusal("WARNING: Using incubator modules: jdk.incubator.vector\n", {}) is None
