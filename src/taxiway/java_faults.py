"""What Java throws, in our words: the chain of causes decides, not the last wrapper around it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from urllib.parse import unquote

from taxiway.errors import BadData, MachineError, NotFound, TaxiwayError, Unreachable, UsageError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

NO_CLIENT_REMEDY = "Add it with --spark spark.jars.packages=org.apache.hadoop:hadoop-aws:3.5.0"
MEMORY_REMEDY = "Give it more with --spark spark.driver.memory=8g, or use fewer months"
DISK_REMEDY = "Free some space, or point TAXIWAY_HOME and --out elsewhere"
_ANOTHER_FOLDER = "Name a folder on another disk: JAVA_TOOL_OPTIONS=-Djava.io.tmpdir=…"

_LONGEST_CHAIN = 20
_DEEPER = re.compile(r"(?:Caused by: |\): )((?:[a-z]\w*\.)+[A-Z][\w$]*(?:Exception|Error|Failure)\w*)(?:: ([^\n]*))?")
_ADDRESS = r"((?:file|s3a?|hdfs|abfss?|gs):/[^\n]+?)"
_READING = re.compile(rf"Encountered error while reading file {_ADDRESS}\. ")
_NAMED = re.compile(
    rf"(?:{_ADDRESS}|(?<![\w:/.])(/[^\n:]+?))(?: (?:is|was|does|has|\(|at \d)|: |, |\. |\.?$|$)", re.MULTILINE
)
_LIBRARY = re.compile(r"^(/.+?)/[^/]+\.(?:so|dylib|jnilib)[:\w]*", re.MULTILINE)
_CODEC = re.compile(r"Class \S*?(\w+?)Codec was not found|codec\S* (\w+) is not (?:available|supported)", re.IGNORECASE)

# A stack trace within a message names snappy and zstd as well when a page is damaged: these are said of loading alone.
_NATIVE = (
    "UnsatisfiedLinkError",
    "FAILED_TO_LOAD_NATIVE_LIBRARY",
    "failed to map segment",
    "Could not initialize class org.xerial.snappy",
    "Could not initialize class com.github.luben.zstd",
)
_DISK = ("No space left on device", "Disk quota exceeded", "Not enough space", "DiskOutOfSpace")
_MEMORY = ("OutOfMemory", "GC overhead limit exceeded", "Unable to acquire", "Java heap space")
_LEAST_MEMORY = re.compile(r"(?:System|Executor) memory \d+ must be at least \d+")
_FORBIDDEN = ("Permission denied", "AccessControlException", "AccessDeniedException", "Operation not permitted")
_READ_ONLY = (
    "Read-only file system",
    "Mkdirs failed to create",
    "Unable to create directory",
    "Failed to create a temp",
)
_NO_CLIENT = ("No FileSystem for scheme", "UnsupportedFileSystemException", "FileSystem not found")
_NETWORK = re.compile(
    r"\bjava\.net\.(?:Connect|UnknownHost|NoRouteToHost|SocketTimeout|Socket)Exception|UnresolvedAddressException|"
    r"software\.amazon\.awssdk\.\S*Exception|AWS\w*IOException|ConnectTimeoutException"
)
_PACKAGE = re.compile(r"unresolved dependency: ([^\],]+)")
_SETTING = re.compile(
    r"Could not parse Master URL|INVALID_CONF_VALUE|should be \w+, but was|CONFIG_(?:TYPE|REQUIREMENT)|"
    r"is not (?:a )?valid (?:spark|config)|Invalid Spark URL|Failed to parse byte string|Failed to parse time string"
)


@dataclass(frozen=True)
class Thrown:
    """One Java exception of a chain.

    Parameters
    ----------
    kind : str
        Its class with its package.
    message : str
    """

    kind: str
    message: str = ""

    @property
    def words(self) -> str:
        """Its message without Spark's label, numbers and advice, or the name of its class."""
        text = re.sub(r"^\[[A-Z0-9_.]+\]\s*|\s*SQLSTATE: \w+", "", self.message).strip()
        first = next((line.strip() for line in text.splitlines() if line.strip()), "")
        return first.rstrip(".")[:200] or self.kind.rpartition(".")[2]


def java_fault(error: BaseException) -> TaxiwayError | None:
    """One of our errors for what Java threw.

    Parameters
    ----------
    error : BaseException
        Whatever was raised; its causes in Python are looked through as well.

    Returns
    -------
    TaxiwayError or None
        None where Java has no part in it, or the cause is a fault of our own.
    """
    for link in _links(error):
        if fault := judge(chain_of(link)):
            return fault
        if _java_is_gone(link):
            return MachineError(
                "Spark's Java has ended in the middle of the work: the system may have taken its memory back",
                "Close other programs, give it less with --spark spark.driver.memory=1g, or use fewer months",
            )
    return None


def java_words(error: BaseException) -> str:
    """What Java itself says at the bottom of an exception; empty where Java has no part in it."""
    for link in _links(error):
        if chain := unfolded(chain_of(link)):
            return f"{chain[-1].kind.rpartition('.')[2]}: {chain[-1].words}"
    return ""


def in_our_words(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let a function of the library raise our errors for what goes wrong in Java, as the command line shows them."""

    @wraps(function)
    def wrapper(*arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
        try:
            return function(*arguments, **options)
        except TaxiwayError:
            raise
        except Exception as error:
            fault = java_fault(error)
            if fault is None:
                raise
            raise fault from error

    return wrapper


def chain_of(error: BaseException) -> tuple[Thrown, ...]:
    """The chain of causes behind what PySpark raised, outermost first; empty for what is not Java's."""
    thrown = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    found: list[Thrown] = []
    # Asking is talking to the JVM, which may be gone by now.
    with suppress(Exception):
        while thrown is not None and len(found) < _LONGEST_CHAIN:
            found.append(Thrown(str(thrown.getClass().getName()), str(thrown.getMessage() or "")))
            thrown = thrown.getCause()
    return tuple(found)


def told(text: str) -> tuple[Thrown, ...]:
    """The chain that a program wrote to its log when an exception ended it; empty when none did."""
    found = re.search(
        r'^(?:Exception in thread "[^"]*" |Error: )((?:[a-z]\w*\.)+[A-Z][\w$]*)(?:: ([^\n]*))?', text, re.M
    )
    if found is None:
        return ()
    causes = [Thrown(match[1], match[2] or "") for match in _DEEPER.finditer(text[found.end() :])]
    return (Thrown(found[1], found[2] or ""), *causes)


def unfolded(chain: Sequence[Thrown]) -> tuple[Thrown, ...]:
    """A chain with the causes that are only told in a message: what comes from an executor has no others."""
    told = [Thrown(match[1], match[2] or "") for item in chain for match in _DEEPER.finditer(item.message)]
    kinds = {item.kind for item in chain}
    return (*chain, *(item for item in told if item.kind not in kinds))


def judge(chain: Sequence[Thrown]) -> TaxiwayError | None:
    """Decide what a chain of Java exceptions means for the user.

    Parameters
    ----------
    chain : sequence of Thrown
        Outermost first.

    Returns
    -------
    TaxiwayError or None
        None where it is no fault of the data, the machine, the network or a setting.
    """
    whole = unfolded(chain)
    text = "\n".join(f"{item.kind}: {item.message}" for item in whole)
    # What stops a machine comes before the file that it happened to be at.
    for decide in (_machine, _codec, _reading, _place, _network):
        if fault := decide(whole, text):
            return fault
    return _setting(whole)


def readable(address: str) -> str:
    """An address of Spark's as the user would write it.

    Examples
    --------
    >>> readable("file:///tmp/a%20b.parquet"), readable("file:/tmp/a%20b"), readable("s3a://trips/a%20b")
    ('/tmp/a b.parquet', '/tmp/a%20b', 's3a://trips/a b')
    """
    if address.startswith("file:///"):
        return unquote(address.removeprefix("file://"))
    # Hadoop writes paths with one slash, and as they are.
    return address.removeprefix("file:") if address.startswith("file:/") else unquote(address)


def _machine(whole: Sequence[Thrown], text: str) -> TaxiwayError | None:
    if any(sign in text for sign in _DISK):
        return MachineError("The disk is full", DISK_REMEDY)
    if least := _LEAST_MEMORY.search(text):
        return MachineError(f"Spark does not start with so little memory ({least[0]} bytes)", MEMORY_REMEDY)
    if "unable to create native thread" in text:
        return MachineError(
            "The system lets Spark start no more threads", "Raise the limit (ulimit -u), or use fewer cores"
        )
    if any(sign in text for sign in _MEMORY):
        return MachineError("Spark ran out of memory", MEMORY_REMEDY)
    if any(sign in text for sign in _NATIVE):
        return _native(whole)
    if "LoginException" in text or "KerberosAuthException" in text:
        return MachineError(
            f"Spark does not learn which user runs it ({whole[-1].words})",
            "Run it as a user with a name in /etc/passwd",
        )
    return None


def _native(whole: Sequence[Thrown]) -> TaxiwayError:
    what = "Spark cannot load its decompressors"
    for item in whole:
        if (found := _LIBRARY.search(item.message)) is None:
            continue
        if any(sign in item.message for sign in ("failed to map segment", "Operation not permitted")):
            return MachineError(f"{what} from {found[1]}, which is mounted with noexec", _ANOTHER_FOLDER)
        return MachineError(f"{what} ({item.message.rpartition(': ')[2][:200]})", "Use a system with glibc")
    return MachineError(f"{what} ({whole[-1].words})", _ANOTHER_FOLDER)


def _codec(whole: Sequence[Thrown], text: str) -> TaxiwayError | None:
    found = _CODEC.search(text)
    if found is None:
        return None
    codec = (found[1] or found[2]).lower()
    place = _file_read(whole)
    if place:
        return BadData(
            f"{place} is compressed with {codec}, which Spark cannot read", "Write it again with snappy, gzip or zstd"
        )
    return UsageError(f"Spark cannot write with the compression {codec}", "Correct spark.sql.parquet.compression.codec")


def _reading(whole: Sequence[Thrown], text: str) -> TaxiwayError | None:
    place = _file_read(whole)
    if not place:
        return None
    if "FILE_NOT_EXIST" in text:
        return NotFound(f"{place} was there a moment ago and is gone", "Run it again")
    if any(sign in text for sign in _FORBIDDEN):
        return MachineError(f"{place} cannot be read: you have no permission", "Change its permissions")
    if _NETWORK.search(text):
        return Unreachable(
            f"{place} cannot be read just now ({whole[-1].words})", "Run it again; taxiway doctor checks it"
        )
    # The file is named once, and a reader's own message names it again.
    reason = whole[-1].words.replace(f"file:{place}", "it").replace(place, "it")
    return BadData(f"{place} cannot be read ({reason})", "It is damaged: fetch it again, or leave this month out")


def _place(whole: Sequence[Thrown], text: str) -> TaxiwayError | None:
    if any(sign in text for sign in _NO_CLIENT):
        scheme = re.search(r'No FileSystem for scheme "?(\w+)', text)
        return MachineError(f"Spark has no client for {scheme[1] if scheme else 's3a'}:// addresses", NO_CLIENT_REMEDY)
    told = next(
        (item for item in reversed(whole) if any(sign in str(item) for sign in (*_FORBIDDEN, *_READ_ONLY))), None
    )
    if told is not None:
        place = _named(told.message) or "A folder"
        if "://" in place:
            return Unreachable(f"{place} does not let Spark in ({told.words})", "Check the key, also on the workers")
        reason = told.words.partition(" (exists=")[0].replace(f"file:{place}", "it").replace(place, "it")
        # Spark writes aside, under names that mean nothing to anybody else.
        place = place.partition("/_temporary")[0]
        return MachineError(f"{place} cannot be used ({reason})", "Choose another folder, or change its permissions")
    gone = next(
        (item for item in reversed(whole) if "PATH_NOT_FOUND" in item.message or "FileNotFound" in item.kind), None
    )
    if gone is not None:
        return NotFound(f"{_named(gone.message) or 'A file'} is not there", "Correct the path, or run it again")
    return None


def _network(whole: Sequence[Thrown], text: str) -> TaxiwayError | None:
    if "java.net.BindException" in text:
        return MachineError(
            f"Spark cannot open a port ({whole[-1].words})", "Correct SPARK_LOCAL_IP or spark.driver.port"
        )
    if package := _PACKAGE.search(text):
        name = package[1].replace("#", ":").replace(";", ":")
        return Unreachable(f"Spark cannot download {name}", "Correct spark.jars.packages, or look at the network")
    if not _NETWORK.search(text):
        return None
    return Unreachable(
        f"Spark lost a connection ({whole[-1].words})", "Run it again; taxiway doctor checks what it needs"
    )


def _setting(whole: Sequence[Thrown]) -> TaxiwayError | None:
    told = next((item for item in whole if _SETTING.search(item.message)), None)
    if told is None:
        return None
    return UsageError(
        f"Spark does not take a setting ({told.words})", "Correct it; taxiway settings says where it comes from"
    )


def _file_read(whole: Sequence[Thrown]) -> str:
    """The file that Spark was reading; empty when it was doing something else."""
    for item in whole:
        if found := _READING.search(item.message):
            return readable(found[1])
    return ""


def _named(message: str) -> str:
    found = _NAMED.search(message)
    return readable(found[1] or found[2]) if found else ""


def _links(error: BaseException) -> Iterator[BaseException]:
    """An exception and those that it came from, in Python."""
    seen: BaseException | None = error
    known: set[int] = set()
    while seen is not None and id(seen) not in known:
        known.add(id(seen))
        yield seen
        seen = seen.__cause__ or seen.__context__


def _java_is_gone(error: BaseException) -> bool:
    """Whether what was raised says that nobody answers any more, and indeed nobody does."""
    if not type(error).__module__.startswith("py4j") and not isinstance(error, ConnectionError):
        return False
    context: Any = getattr(sys.modules.get("pyspark"), "SparkContext", None)
    process = getattr(getattr(context, "_gateway", None), "proc", None)
    return process is not None and process.poll() is not None
