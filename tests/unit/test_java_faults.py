"""What Java throws: the chain of causes decides which of our errors it is, and which file is named."""

from __future__ import annotations

import pytest

from taxiway.errors import BadData, MachineError, NotFound, TaxiwayError, Unreachable, UsageError
from taxiway.java_faults import Thrown, chain_of, in_our_words, java_fault, judge, readable, told, unfolded

SPARK = "org.apache.spark.SparkException"
READING = "[FAILED_READ_FILE.NO_HINT] Encountered error while reading file {}.  SQLSTATE: KD001"
FILE = READING.format("file:///data/a%20b/gr%C3%BCn.parquet")
STAGE = (
    "Job aborted due to stage failure: Task 1 in stage 11.0 failed 1 times, most recent failure: Lost task 1.0 in stage"
    " 11.0 (TID 11) (10.0.0.3 executor 1): {}\n\tat org.xerial.snappy.SnappyNative.rawCompress(Native Method)\n"
)

# As Spark 4.3 and Hadoop 3.5 throw them: outermost first, then what is said.
SAMPLES: list[tuple[list[tuple[str, str]], type[TaxiwayError], str]] = [
    (
        [
            (SPARK, FILE),
            ("org.apache.parquet.hadoop.BadConfigurationException", "Class org.x.BrotliCodec was not found"),
            ("java.lang.ClassNotFoundException", "org.apache.hadoop.io.compress.BrotliCodec"),
        ],
        BadData,
        "/data/a b/grün.parquet is compressed with brotli, which Spark cannot read. Write it again",
    ),
    (
        [(SPARK, FILE), ("java.io.IOException", "Required field 'uncompressed_page_size' was not found\nmore")],
        BadData,
        "/data/a b/grün.parquet cannot be read (Required field 'uncompressed_page_size' was not found). It is damaged",
    ),
    (
        [(SPARK, READING.format("file:///d/x.parquet")), ("java.io.IOException", "FAILED_TO_UNCOMPRESS(5)")],
        BadData,
        "/d/x.parquet cannot be read (FAILED_TO_UNCOMPRESS(5))",
    ),
    (
        [
            (
                SPARK,
                "[FAILED_READ_FILE.CANNOT_READ_FILE_FOOTER] Encountered error while reading file file:/d/a%20b.parquet."
                " Could not read footer. Please ensure that the file is in either ORC or Parquet format.",
            ),
            ("java.lang.RuntimeException", "file:/d/a%20b.parquet is not a Parquet file. Expected magic number"),
        ],
        BadData,
        "/d/a%20b.parquet cannot be read (it is not a Parquet file. Expected magic number)",
    ),
    (
        [
            (
                SPARK,
                "[FAILED_READ_FILE.FILE_NOT_EXIST] Encountered error while reading file file:///d/x.parquet. File does"
                " not exist.",
            ),
            ("java.io.FileNotFoundException", "File file:/d/x.parquet does not exist"),
        ],
        NotFound,
        "/d/x.parquet was there a moment ago and is gone",
    ),
    (
        [(SPARK, READING.format("s3a://trips/x.parquet")), ("java.net.SocketTimeoutException", "Read timed out")],
        Unreachable,
        "s3a://trips/x.parquet cannot be read just now (Read timed out)",
    ),
    (
        [(SPARK, READING.format("file:///d/x")), ("java.io.FileNotFoundException", "/d/x (Permission denied)")],
        MachineError,
        "/d/x cannot be read: you have no permission",
    ),
    (
        [
            (SPARK, FILE),
            ("java.lang.UnsatisfiedLinkError", "/nx/t/libzstd.so: /nx/t/libzstd.so: failed to map segment"),
        ],
        MachineError,
        "cannot load its decompressors from /nx/t, which is mounted with noexec. Name a folder",
    ),
    (
        [("java.lang.UnsatisfiedLinkError", "/d/s.so: ld-linux-x86-64.so.2: cannot open shared object file")],
        MachineError,
        "cannot load its decompressors (cannot open shared object file). Use a system with glibc",
    ),
    (
        [(SPARK, FILE), ("java.lang.NoClassDefFoundError", "Could not initialize class org.xerial.snappy.Snappy")],
        MachineError,
        "Spark cannot load its decompressors (Could not initialize class org.xerial.snappy.Snappy)",
    ),
    (
        [(SPARK, STAGE.format("java.io.IOException: No space left on device"))],
        MachineError,
        "The disk is full",
    ),
    (
        [("org.apache.spark.SparkIllegalArgumentException", "[X] System memory 100 must be at least 450. Please")],
        MachineError,
        "so little memory (System memory 100 must be at least 450 bytes). Give it more",
    ),
    ([("java.lang.OutOfMemoryError", "Java heap space")], MachineError, "Spark ran out of memory"),
    (
        [("java.lang.OutOfMemoryError", "unable to create native thread: possibly out of memory or process limits")],
        MachineError,
        "The system lets Spark start no more threads",
    ),
    (
        [(SPARK, STAGE.format("java.io.IOException: Mkdirs failed to create file:/out/x/_temporary/0 (exists=false)"))],
        MachineError,
        "/out/x cannot be used (Mkdirs failed to create it)",
    ),
    (
        [("java.io.FileNotFoundException", "/srv/out/part-0 (Read-only file system)")],
        MachineError,
        "/srv/out/part-0 cannot be used",
    ),
    (
        [("java.nio.file.AccessDeniedException", "s3a://trips/x: getFileStatus on s3a://trips/x: 403 Forbidden")],
        Unreachable,
        "s3a://trips/x does not let Spark in",
    ),
    (
        [
            (
                "org.apache.spark.sql.AnalysisException",
                "[PATH_NOT_FOUND] Path does not exist: file:/nope. SQLSTATE: 42K03",
            )
        ],
        NotFound,
        "/nope is not there",
    ),
    (
        [("java.lang.ClassNotFoundException", "Class org.apache.hadoop.fs.s3a.S3AFileSystem not found")],
        MachineError,
        "Spark has no client for s3a:// addresses. Add it with --spark spark.jars.packages=",
    ),
    (
        [("org.apache.hadoop.fs.UnsupportedFileSystemException", 'No FileSystem for scheme "oss"')],
        MachineError,
        "Spark has no client for oss:// addresses",
    ),
    (
        [("java.lang.IllegalArgumentException", "x"), ("java.net.UnknownHostException", "nohost")],
        Unreachable,
        "Spark lost a connection (nohost)",
    ),
    ([("java.net.BindException", "Cannot assign requested address")], MachineError, "Spark cannot open a port"),
    (
        [("java.lang.RuntimeException", "[unresolved dependency: org.nope#nope;1: not found]")],
        Unreachable,
        "Spark cannot download org.nope:nope:1: not found",
    ),
    (
        [("javax.security.auth.login.LoginException", "invalid null input: name")],
        MachineError,
        "Spark does not learn which user runs it",
    ),
    ([(SPARK, "Could not parse Master URL: 'foo'")], UsageError, "Spark does not take a setting (Could not parse"),
    (
        [("org.apache.parquet.hadoop.BadConfigurationException", "Class com.hadoop.LzoCodec was not found")],
        UsageError,
        "Spark cannot write with the compression lzo. Correct spark.sql.parquet.compression.codec",
    ),
]


@pytest.mark.parametrize(("chain", "kind", "words"), SAMPLES, ids=lambda value: str(value)[:40])
def test_the_cause_decides(chain: list[tuple[str, str]], kind: type[TaxiwayError], words: str) -> None:
    found = judge([Thrown(*item) for item in chain])
    assert type(found) is kind
    assert words in str(found)


@pytest.mark.parametrize(
    "chain",
    [
        [],
        [("org.apache.spark.SparkArithmeticException", "[DIVIDE_BY_ZERO] Division by zero. SQLSTATE: 22012")],
        [("org.apache.spark.sql.catalyst.ExtendedAnalysisException", "[UNRESOLVED_COLUMN] A column `x`")],
        [(SPARK, STAGE.format("java.lang.NullPointerException"))],
    ],
)
def test_a_fault_of_ours_stays_one(chain: list[tuple[str, str]]) -> None:
    assert judge([Thrown(*item) for item in chain]) is None


def test_causes_that_only_a_message_tells() -> None:
    text = STAGE.format("java.io.IOException: cannot write") + "Caused by: java.net.ConnectException: refused\n\tat x"
    assert [item.kind for item in unfolded([Thrown(SPARK, text)])] == [
        SPARK,
        "java.io.IOException",
        "java.net.ConnectException",
    ]


def test_what_a_log_tells_of_an_end() -> None:
    log = 'WARNING: x\nException in thread "main" java.lang.IllegalArgumentException: basedir\n\tat y\n'
    log += "Caused by: a.BError: c\n"
    assert told(log) == (Thrown("java.lang.IllegalArgumentException", "basedir"), Thrown("a.BError", "c"))
    assert told("Error: Unable to access jarfile x\n") == ()


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("file:///d/%C3%A9%20b.parquet", "/d/é b.parquet"),
        ("file:/d/a%20b", "/d/a%20b"),
        ("s3a://trips/a%20b", "s3a://trips/a b"),
        ("/d/x", "/d/x"),
    ],
)
def test_addresses_as_the_user_writes_them(address: str, shown: str) -> None:
    assert readable(address) == shown


class FromJava(Exception):
    """What PySpark raises, as far as it is looked at."""

    def __init__(self, *chain: Thrown) -> None:
        super().__init__("An error occurred while calling o249.collectToPython.")
        self.java_exception = Link(*chain)


class Link:
    """A Java exception behind py4j."""

    def __init__(self, *chain: Thrown) -> None:
        self.chain = chain

    def getClass(self) -> Link:  # noqa: N802  # as Java calls it
        return self

    def getName(self) -> str:  # noqa: N802  # as Java calls it
        return self.chain[0].kind

    def getMessage(self) -> str | None:  # noqa: N802  # as Java calls it
        return self.chain[0].message or None

    def getCause(self) -> Link | None:  # noqa: N802  # as Java calls it
        return Link(*self.chain[1:]) if self.chain[1:] else None


def test_a_chain_is_read_link_by_link_and_however_deep_it_lies() -> None:
    chain = (Thrown(SPARK, "outer"), Thrown("java.lang.Error"), Thrown("java.io.IOException", "Disk quota exceeded"))
    thrown = FromJava(*chain)
    assert chain_of(thrown) == chain
    outer = RuntimeError("a library gave up")
    outer.__cause__ = thrown
    assert type(java_fault(outer)) is MachineError
    assert java_fault(ValueError("no Java in it")) is None


def test_the_library_raises_our_errors_and_lets_others_pass() -> None:
    thrown = FromJava(Thrown(SPARK, FILE))
    ours = NotFound("not there")

    @in_our_words
    def work(error: Exception) -> None:
        raise error

    with pytest.raises(BadData, match="grün") as caught:
        work(thrown)
    assert caught.value.__cause__ is thrown
    for other in (ours, KeyError("x")):
        with pytest.raises(type(other)) as passed:
            work(other)
        assert passed.value is other
