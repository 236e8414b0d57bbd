"""What Spark meets in real files and folders becomes one of our errors, with the file as the user would write it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from taxiway.errors import BadData, MachineError, NotFound, TaxiwayError, UsageError
from taxiway.inspection import inspect
from taxiway.java_faults import java_fault, java_words
from taxiway.settings import load_settings
from trip_files import green_trips, write_trips


def fault_of(action: Callable[[], object]) -> TaxiwayError | None:
    with pytest.raises((PySparkException, Py4JJavaError)) as caught:
        action()
    return java_fault(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A Parquet file whose name Spark has to encode."""
    found = tmp_path / "são 100% x" / "trips é.parquet"
    found.parent.mkdir()
    numbers = pa.table({"fare": [float(number) for number in range(5000)]})
    pq.write_table(numbers, found, compression="snappy", use_dictionary=False)
    return found


def damage(file: Path, name: str) -> None:
    """Write over the middle of a column's values."""
    group = pq.ParquetFile(file).metadata.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    column = next(column for column in columns if column.path_in_schema == name)
    first = column.dictionary_page_offset or column.data_page_offset
    content = bytearray(file.read_bytes())
    begin = first + column.total_compressed_size // 3
    content[begin : begin + column.total_compressed_size // 3] = b"\xff" * (column.total_compressed_size // 3)
    file.write_bytes(content)


@pytest.mark.usefixtures("spark")
def test_the_library_says_which_months_are_damaged(tmp_path: Path) -> None:
    write_trips(tmp_path, "green:2023-01", green_trips(2000, "2023-01", 1))
    file = next(tmp_path.rglob("*.parquet"))
    damage(file, "fare_amount")
    with pytest.raises(BadData, match="cannot be read") as caught:
        inspect("green:2023-01", settings=load_settings({"home": tmp_path / "home", "trips_source": tmp_path}, {}))
    assert str(file) in caught.value.message


def test_a_damaged_page(spark: SparkSession, file: Path) -> None:
    damage(file, "fare")
    found = fault_of(lambda: spark.read.schema("fare double").parquet(str(file)).groupBy().sum().collect())
    assert type(found) is BadData
    assert found.message.startswith(f"{file} cannot be read (")


def test_a_codec_that_spark_does_not_have(spark: SparkSession, file: Path) -> None:
    pq.write_table(pq.read_table(file), file, compression="brotli")
    found = fault_of(lambda: spark.read.schema("fare double").parquet(str(file)).groupBy().sum().collect())
    assert type(found) is BadData
    assert found.message == f"{file} is compressed with brotli, which Spark cannot read"


def test_files_that_are_cut_or_gone(spark: SparkSession, file: Path) -> None:
    frame = spark.read.parquet(str(file))
    file.write_bytes(file.read_bytes()[:-100])
    cut = fault_of(lambda: spark.read.schema("fare double").parquet(str(file)).groupBy().sum().collect())
    assert type(cut) is BadData
    assert str(file) in cut.message
    file.unlink()
    gone = fault_of(lambda: frame.groupBy().sum().collect())
    assert type(gone) is NotFound
    assert gone.message == f"{file} was there a moment ago and is gone"
    never = fault_of(lambda: spark.read.parquet(str(file.parent / "none")))
    assert type(never) is NotFound
    assert str(file.parent / "none") in never.message


def test_what_a_machine_or_a_setting_lacks(spark: SparkSession) -> None:
    folder = fault_of(lambda: spark.range(3).write.parquet("/proc/taxiway"))
    assert type(folder) is MachineError
    assert folder.message == "/proc/taxiway cannot be used (Mkdirs failed to create it)"
    client = fault_of(lambda: spark.read.parquet("oss://trips/x"))
    assert type(client) is MachineError
    assert "no client for oss://" in client.message
    setting = fault_of(lambda: spark.conf.set("spark.sql.shuffle.partitions", "many"))
    assert type(setting) is UsageError


def test_a_fault_of_ours_keeps_spark_s_own_words(spark: SparkSession) -> None:
    with pytest.raises(PySparkException, match="DIVIDE_BY_ZERO") as caught:
        spark.sql("select 1/0").collect()
    assert java_fault(caught.value) is None
    assert java_words(caught.value).startswith("SparkArithmeticException: Division by zero")
