"""What Docker and Compose write when something goes wrong, in our words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from taxiway.errors import MachineError, TaxiwayError, Unreachable, UsageError

_DENIED = re.compile(r"permission denied while trying to connect to the docker", re.I)
_SILENT = re.compile(
    r"cannot connect to the docker daemon|couldn't connect to docker|failed to connect to the docker api"
    r"|error during connect|is the docker daemon running",
    re.I,
)
_PORT_TAKEN = re.compile(r"port is already allocated|address already in use|ports are not available", re.I)
_PORT = re.compile(r"(?:127\.0\.0\.1|0\.0\.0\.0|\[?::1?\]?):(\d+)")
_NETWORK = re.compile(
    r"no such host|i/o timeout|TLS handshake timeout|connection refused|network is unreachable|toomanyrequests"
    r"|request canceled while waiting|Temporary failure in name resolution|Could not resolve|Connection timed out",
    re.I,
)
_DISK = re.compile(r"no space left on device|disk quota exceeded", re.I)
# How the several builders and registries name an image that they cannot get.
_IMAGES = tuple(
    re.compile(pattern, re.I | re.M)
    for pattern in (
        r"^ > \[[\w-]+ internal\] load metadata for (?:docker\.io/(?:library/)?)?(\S+?):?$",
        r"manifest for (\S+) not found",
        r"pull access denied for ([^\s,]+)",
        r"failed to resolve source metadata for (?:docker\.io/(?:library/)?)?([^\s:]+(?::[\w.-]+)?)",
        r"failed to resolve reference \"?(?:docker\.io/(?:library/)?)?([^\s\"]+?)\"?:",
        r"No such image: (\S+)",
        r"unable to find image '([^']+)'",
    )
)
# Compose names the service alone: " db Error Get "https://…": …"
_PULL_OF = re.compile(r"^\s*(?:✘\s*)?([\w-]+)\s+Error\s+\S", re.M)
_OLD_PULL = re.compile(r"^Pulling [\w-]+ \((\S+)\)", re.M)
_REFUSED = re.compile(r"denied|not found|manifest unknown", re.I)
_BUILDS = tuple(
    re.compile(pattern, re.M)
    for pattern in (r"^(?:ERROR: )?Service '([\w-]+)' failed to build", r"target ([\w-]+): failed to solve")
)
_STEP = re.compile(r"^ > \[([\w-]+)(?: [\w.-]+)? +\d+/\d+\]", re.M)
_COMPLAINT = re.compile(r"\b(error|failed|fatal|denied|not found|unable|no matching|could not|cannot)\b", re.I)
_LAYERS = re.compile(
    r"^failed to solve: (?:rpc error: code = \w+ desc = )?(?:failed to solve with frontend dockerfile\.v0: )?"
    r"(?:failed to create LLB definition: )?"
)
# True of every failed build, and telling nothing.
_TELLS_NOTHING = re.compile(
    r"did not complete successfully|returned a non-zero code|failed to build|^-+$|^\d+ \| |^>>> |^\[notice\]"
    r"|exit code: \d+$|^Dockerfile:\d+$|view build details|^make: \*\*\*",
    re.I,
)


def explain(output: str, what: str, log: str = "") -> TaxiwayError:
    """Turn what Docker or Compose wrote into one of our errors.

    Parameters
    ----------
    output : str
        All that it wrote.
    what : str
        What it was to do, as in "Docker cannot <what>".
    log : str
        The file in which the user finds the whole of it.

    Returns
    -------
    TaxiwayError
    """
    line = telling_line(output) or "it does not say why"
    unknown = MachineError(f"Docker cannot {what}: {line}", f"See {log}" if log else "Run it again with --verbose")
    return recognise(output, log) or unknown


def recognise(output: str, log: str = "", image_of: Callable[[str], str] = "of {}".format) -> TaxiwayError | None:
    """The error that the output tells of; None when it is none that is known.

    Parameters
    ----------
    output, log : str
        As for `explain`.
    image_of : callable
        The name of the image of a service, for what names the service alone; empty for what is no service.
    """
    known = explain_daemon(output) or _port(output) or _shortage(output)
    return known or _pull(output, log, image_of) or _build(output, log)


def explain_daemon(output: str) -> TaxiwayError | None:
    """The error when Docker itself does not answer or does not let us in; None when it is neither."""
    if _DENIED.search(output):
        return MachineError(
            "Docker does not let this user in: permission denied on its socket",
            "Add the user to the group docker and sign in again, or use rootless Docker",
        )
    if _SILENT.search(output):
        return MachineError(
            "Docker does not answer: its daemon is not running, or DOCKER_HOST names another",
            "Start it (Linux: sudo systemctl start docker; macOS, Windows: open Docker Desktop)",
        )
    return None


def port_taken(port: int, by: str, variable: str) -> UsageError:
    """The error for a port of the stack that somebody else holds."""
    return UsageError(f"Port {port} is taken by {by}", f"Stop that, or choose another port with {variable}")


def telling_line(output: str) -> str:
    r"""The last line that says what went wrong; the last line at all when none does.

    Examples
    --------
    >>> telling_line("ERROR: no such file\nThe command '/bin/sh -c x' returned a non-zero code: 1\n")
    'ERROR: no such file'
    """
    lines = [_bare(line) for line in output.splitlines()]
    lines = [line for line in lines if line and not _TELLS_NOTHING.search(line)]
    complaints = [line for line in lines if _COMPLAINT.search(line)]
    return shortened((complaints or lines or [""])[-1])


def last_line(output: str) -> str:
    r"""The last line that is not empty.

    Examples
    --------
    >>> last_line("one\n two \n\n")
    'two'
    """
    return shortened(next((line.strip() for line in reversed(output.splitlines()) if line.strip()), ""))


def shortened(line: str, most: int = 300) -> str:
    """A line that fits on a screen."""
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _bare(line: str) -> str:
    """A line of a build without the builder's step, clock and layers: ``#12 3.456 ERROR: …``."""
    return _LAYERS.sub("", re.sub(r"^(#\d+ )?(\d+\.\d+ )?", "", line.strip())).strip()


def _port(output: str) -> TaxiwayError | None:
    for line in output.splitlines():
        if _PORT_TAKEN.search(line):
            ports = _PORT.findall(line)
            return UsageError(
                f"Port {ports[0] if ports else 'of the stack'} is taken by another program",
                "Stop that, or choose other ports with STACK_JUPYTER_PORT and STACK_MLFLOW_PORT",
            )
    return None


def _shortage(output: str) -> TaxiwayError | None:
    if not _DISK.search(output):
        return None
    return MachineError(
        "The disk that Docker keeps its data on is full", "Free some space; docker system df shows what takes it"
    )


def _pull(output: str, log: str, image_of: Callable[[str], str]) -> TaxiwayError | None:
    line = telling_line(output)
    image = _first(_IMAGES, output)
    service = _PULL_OF.search(output)
    if not image and service:
        image = image_of(service[1])
    if not image and (_NETWORK.search(line) or _REFUSED.search(line)):
        image = next(reversed(_OLD_PULL.findall(output)), "")
    if not image:
        return None
    return Unreachable(f"The image {image} cannot be had: {line}", f"Check the network and the name{_see(log)}")


def _build(output: str, log: str) -> TaxiwayError | None:
    service = _first(_BUILDS, output) or _first((_STEP,), output)
    if not service and "failed to solve" not in output:
        return None
    message = f"The image of {service or 'a service'} cannot be built: {telling_line(output)}"
    if _NETWORK.search(output):
        return Unreachable(message, f"Check the network and try again{_see(log)}")
    return MachineError(message, f"Mend that and try again{_see(log)}")


def _see(log: str) -> str:
    return f"; the whole is in {log}" if log else ""


def _first(patterns: Iterable[re.Pattern[str]], output: str) -> str:
    found = (pattern.search(output) for pattern in patterns)
    return next((match[1] for match in found if match), "")
