"""What Spark's Java is launched with: which of the shell's variables it sees, and which options are added."""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from taxiway.errors import MachineError, UsageError
from taxiway.settings import Settings

JAVA_VARIABLES = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "SPARK_SUBMIT_OPTS", "_JAVA_OPTIONS")
"""Variables that hold options for Java; where two say different things, the later one is obeyed."""

LEFT_OUT = (
    "PYSPARK_SUBMIT_ARGS",
    "SPARK_REMOTE",
    "SPARK_CONNECT_MODE_ENABLED",
    "SPARK_PREPEND_CLASSES",
    "SPARK_TESTING",
)
"""Variables that would start another Spark than the settings describe."""

OF_CLUSTERS = ("SPARK_CONF_DIR", "HADOOP_CONF_DIR", "YARN_CONF_DIR", "SPARK_DIST_CLASSPATH")
"""Variables that describe a cluster: in local mode they would make a laptop look for its files elsewhere."""

_EMPTY_IS_UNSET = ("SPARK_", "PYSPARK_", "HADOOP_", "YARN_", "JAVA_", "JDK_JAVA_", "_JAVA_")
_COLLECTOR = re.compile(r"-XX:\+Use\w+GC\b")
_TEMPORARY = re.compile(r"-Djava\.io\.tmpdir=(\S+)")
_FIRST_HEAP = re.compile(r"-Xms|-XX:InitialHeapSize")
_LOCALES = ("C.UTF-8", "C.utf8", "en_US.UTF-8")
_EVERY_CATEGORY = 0x3F
_ENVIRONMENT = threading.Lock()

# What a JVM says when it does not start, before the words "Could not create the Java Virtual Machine".
_SAYS_WHY = re.compile(
    r"Unrecognized|Improperly specified|Invalid |Multiple garbage|larger value|Could not |could not |Cannot |"
    r"[Nn]ot allowed|Error opening|Conflicting|must be|too (?:small|large)|Exception|[Ff]ailed|[Uu]nable",
)
_SAYS_NOTHING = ("Error: Could not create the Java Virtual Machine", "Error: A fatal exception", "agent library failed")


def launch_environment(
    environment: Mapping[str, str], spark_home: Path, java_home: Path, *, local: bool, chosen: Iterable[str] = ()
) -> dict[str, str]:
    """The variables that Spark's Java sees.

    Parameters
    ----------
    environment : mapping of str to str
        The user's.
    spark_home : Path
        The installed Spark: another one would not understand this one's Python.
    java_home : Path
    local : bool
        Whether no cluster is used.
    chosen : iterable of str
        Keys of Spark that the settings name: no variable wins over them.

    Returns
    -------
    dict of str to str
    """
    left_out = {*LEFT_OUT, *(OF_CLUSTERS if local else ())}
    if "spark.local.dir" in chosen:
        left_out.add("SPARK_LOCAL_DIRS")
    seen = {
        name: value
        for name, value in environment.items()
        if name not in left_out and (value.strip() or not name.startswith(_EMPTY_IS_UNSET))
    }
    named = seen.get("SPARK_HOME", "")
    # A link to the installed Spark stays as it is spelled: Java's class archive knows its jars by their paths.
    own = bool(named) and Path(named).resolve() == spark_home.resolve()
    seen["SPARK_HOME"] = named if own else str(spark_home)
    seen["JAVA_HOME"] = str(java_home)
    if any(_FIRST_HEAP.search(text) for text in java_texts(seen)):
        # Spark's launcher is a small JVM of its own, and no smaller than these options say.
        seen["SPARK_LAUNCHER_OPTS"] = f"{seen.get('SPARK_LAUNCHER_OPTS', '')} -Xms8m".strip()
    if local:
        seen.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    # Java reads and writes names of files in the locale's encoding, and says what the system says in its language.
    if name := utf8_locale():
        seen["LC_ALL"] = name
    return seen


def passed_over(environment: Mapping[str, str], spark_home: Path, *, local: bool) -> tuple[str, ...]:
    """The variables that are set and mean nothing here, for `taxiway doctor` to name."""
    names = [name for name in (*LEFT_OUT, *(OF_CLUSTERS if local else ())) if environment.get(name)]
    home = environment.get("SPARK_HOME")
    if home and Path(home).resolve() != spark_home.resolve():
        names.insert(0, "SPARK_HOME")
    return tuple(names)


def spark_folder() -> Path:
    """The folder of the Spark that is installed beside this Python."""
    import pyspark

    package = Path(pyspark.__file__).parent
    full = package / "spark-distribution"
    return full if (full / "bin" / "spark-submit").is_file() else package


@contextmanager
def as_environment(environment: Mapping[str, str]) -> Iterator[None]:
    """Have this process see an environment while the block runs: PySpark's launcher takes it from nowhere else."""
    with _ENVIRONMENT:
        before = dict(os.environ)
        try:
            _replace(environment)
            yield
        finally:
            _replace(before)


def _replace(environment: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update({name: value for name, value in environment.items() if os.environ.get(name) != value})


def utf8_locale() -> str:
    """A locale of this machine that speaks UTF-8; empty where there is none by these names."""
    try:
        library = ctypes.CDLL(None)
        library.newlocale.restype = ctypes.c_void_p
        library.newlocale.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        library.freelocale.argtypes = (ctypes.c_void_p,)
    except (AttributeError, OSError, TypeError):
        return ""
    for name in _LOCALES:
        if made := library.newlocale(_EVERY_CATEGORY, name.encode(), None):
            library.freelocale(made)
            return name
    return ""


def collector(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The garbage collector to ask for; none where the user's variables name one, since Java starts with no two."""
    return () if any(_COLLECTOR.search(text) for text in java_texts(environment)) else ("-XX:+UseParallelGC",)


def java_texts(environment: Mapping[str, str]) -> Iterator[str]:
    """The options for Java that the user's variables hold, in the order of their weight."""
    return (environment[name] for name in JAVA_VARIABLES if environment.get(name))


def own_options(settings: Settings, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Options that Java needs on this machine and for this user, whatever else it is told.

    Raises
    ------
    MachineError
        Neither the temporary folder nor the home lets a native library be loaded.
    """
    options = []
    if (folder := _temporary_folder(settings, environment)) is not None:
        options.append(f"-Djava.io.tmpdir={folder}")
    if not user_name():
        options += [f"-Duser.name={nameless()}", f"-Duser.home={settings.home}"]
    return tuple(options)


def quoted(options: Iterable[str]) -> str:
    """Options as Spark's launcher takes them apart again: at blanks, unless they are within quotes."""
    return " ".join(
        option if re.fullmatch(r"[^\s'\"\\]+", option) else '"' + re.sub(r'(["\\])', r"\\\1", option) + '"'
        for option in options
    )


def _temporary_folder(settings: Settings, environment: Mapping[str, str]) -> Path | None:
    """A temporary folder under the home, where Java's own does not let a native library be loaded; else None.

    Spark unpacks its decompressors into it. An option in the user's variables names another one than `/tmp`.
    """
    # These two win over what is added here: the settings' options come later on the command line.
    final = {"spark.driver.extraJavaOptions": settings.spark.get("spark.driver.extraJavaOptions", "")}
    final["_JAVA_OPTIONS"] = environment.get("_JAVA_OPTIONS", "")
    named = [match for text in (*java_texts(environment), *final.values()) for match in _TEMPORARY.findall(text)]
    theirs = named[-1].strip("\"'") if named else "/tmp"  # noqa: S108  # what Java takes on Linux, whatever TMPDIR says
    if sys.platform != "linux" or _loads_libraries(Path(theirs)):
        return None
    folder = settings.home / "spark" / "tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise MachineError(f"{settings.home} cannot be written: {error.strerror}", "Set TAXIWAY_HOME") from error
    fixed = [name for name, text in final.items() if _TEMPORARY.search(text)]
    if not fixed and _loads_libraries(folder):
        return folder
    raise MachineError(
        f"Spark cannot load its decompressors from {theirs}, which cannot be written or is mounted with noexec",
        f"Take -Djava.io.tmpdir out of {fixed[-1]}"
        if fixed
        else "Set TAXIWAY_HOME to a folder on a disk that is mounted with exec",
    )


def _loads_libraries(folder: Path) -> bool:
    try:
        return not os.statvfs(folder).f_flag & os.ST_NOEXEC and os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False


def user_name() -> str:
    """The name that the system has for this user; empty where it has none, as in many containers."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""


def nameless() -> str:
    """What a user without a name is called."""
    return os.environ.get("HADOOP_USER_NAME") or os.environ.get("USER") or f"uid{os.getuid()}"


def refusal(said: str, environment: Mapping[str, str]) -> MachineError | UsageError | None:
    """Why a JVM did not start, from what it wrote; None where it wrote nothing that says why.

    Parameters
    ----------
    said : str
        Its standard error.
    environment : mapping of str to str
        The variables it saw: the one that holds the option is named.

    Returns
    -------
    MachineError, UsageError or None
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = [line for line in lines if _SAYS_WHY.search(line) and not line.startswith(_SAYS_NOTHING)]
    if not told:
        return None
    reason = told[0].removeprefix("Error: ").rstrip(".")[:200]
    if "maximum heap size: " in reason:
        return UsageError(f"Java does not start ({reason})", "Correct spark.driver.memory, or SPARK_DRIVER_MEMORY")
    if "reserve enough space" in reason or "insufficient memory" in reason:
        return MachineError(f"Java does not get the memory that it asks for ({reason})", "Close other programs")
    if reason.startswith("Not allowed"):
        return UsageError(f"Spark does not take a setting ({reason})", "taxiway settings says where it comes from")
    guilty = _holder(reason, environment)
    if guilty:
        return UsageError(f"Java does not start with the options in {guilty} ({reason})", f"Correct or unset {guilty}")
    return MachineError(f"Java does not start ({reason})", "taxiway doctor looks at Java with the same options")


def _holder(reason: str, environment: Mapping[str, str]) -> str:
    """The variables that hold the option which a JVM complains about, else all that are set."""
    held = {name: environment[name] for name in JAVA_VARIABLES if environment.get(name)}
    words = re.findall(r"[\w:./@+=-]{3,}", reason.replace("'", " "))
    for name, text in reversed(held.items()):
        options = [re.sub(r"^-(?:XX:[+-]?|agentlib:|javaagent:)?", "", option) for option in _split(text)]
        if any(word.lstrip("-") in options for word in words):
            return name
    if "garbage collectors" in reason:
        held = {name: text for name, text in held.items() if _COLLECTOR.search(text)}
    return ", ".join(held)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
