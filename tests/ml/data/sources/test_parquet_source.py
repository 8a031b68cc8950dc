"""Parquet files whose columns' types say what they hold."""

from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.ml import process_csv

pytestmark = pytest.mark.spark

LABEL = pa.array([10.0, 20.0, 30.0])


@pytest.fixture
def write(tmp_path):
    """Writes columns and a label to a Parquet file; returns its path."""

    def write(name="rows.parquet", label=LABEL, **columns):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({**columns, "label": label}), path)
        return str(path)

    return write


def rows(data):
    """Features per row, by label."""
    return {row.label: row.features.toArray().tolist() for row in data.collect()}


def test_times_in_text_are_written_as_declared(spark, write):
    path = write(at=["02/01/2020", "25/12/2020", "2020-03-04"])
    options = {"timestamp_columns": {"at": ["month", "day"]}, "timestamp_formats": ["%d/%m/%Y"]}
    assert rows(process_csv(path, **options)) == {10: [1, 2], 20: [12, 25], 30: [3, 4]}


def test_columns_are_what_their_types_say(spark, write):
    times = pa.array([datetime(2026, 3, day, 12) for day in (1, 2, 3)], pa.timestamp("us"))
    path = write(
        whole=pa.array([1, None, 3], pa.int64()),
        exact=pa.array(["1.5", "2.5", "3.5"]).cast(pa.decimal128(5, 2)),
        flag=[True, False, True],
        at=times,
        zip=["0150", "0250", "0150"],
    )
    data = process_csv(path, categorical_columns=["zip"], timestamp_columns={"at": ["day", "hour"]}, missing="mean")
    assert rows(data) == {
        10: [1, 1.5, 1, 1, 12, 1, 0],
        20: [2, 2.5, 0, 2, 12, 0, 1],
        30: [3, 3.5, 1, 3, 12, 1, 0],
    }


def test_arrays_are_as_long_as_the_first_of_them(spark, write):
    path = write(pixels=pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int32())))
    assert rows(process_csv(path)) == {10: [1, 2], 20: [3, 4], 30: [5, 6]}
    path = write(pixels=pa.array([[1, 2], [3], [5, 6]], pa.list_(pa.int32())))
    with pytest.raises(DataError, match=r"Missing values in 'pixels' \(1 rows\)"):
        process_csv(path)


def test_text_is_no_number_unless_it_is_declared_one(spark, write):
    path = write(code=["1", "2", "x"])
    with pytest.raises(DataError, match=r"The column 'code' holds text such as 'x'; expected numbers. Add it to categorical"):
        process_csv(path)
    assert rows(process_csv(path, schema={"code": "number"}, missing="mean"))[30] == [1.5]


@pytest.mark.parametrize(
    ("column", "arguments", "message"),
    [
        (pa.array([1, 2, 3]), {"timestamp_columns": {"a": ["day"]}}, "'a' has the type bigint, expected one .* as timestamp"),
        (pa.array([b"1", b"2", b"3"]), {"categorical_columns": ["a"]}, "'a' has the type binary, expected one .* as text"),
        (pa.array([1.0, 2.0, 3.0]), {"schema": {"a": "array[2]"}}, r"'a' has the type double, expected one .* as array\[2\]"),
        (pa.array([[[1]], [[2]], [[3]]]), {}, r"The column 'a' holds text such as '\[\[1\]\]'"),
        (pa.array([datetime(2026, 3, 1)] * 3), {}, "The column 'a' holds times such as '2026-03-01 00:00:00'"),
        (pa.array([1.0, float("inf"), 3.0]), {}, r"Infinite values in 'a' \(1 rows\)"),
    ],
)  # fmt: skip
def test_columns_that_cannot_be_used_are_refused(spark, write, column, arguments, message):
    with pytest.raises(DataError, match=message):
        process_csv(write(a=column), **arguments)


def test_partition_folders_are_columns(spark, write, tmp_path):
    for part in (1, 2):
        write(f"rows/part={part}/a.parquet", label=pa.array([10.0 * part]), a=[0.5])
    assert rows(process_csv(tmp_path / "rows")) == {10: [0.5, 1], 20: [0.5, 2]}


def test_files_without_rows_are_refused(spark, write):
    with pytest.raises(DataError, match=r"There is no row in file:\S+/rows.parquet"):
        process_csv(write(label=LABEL[:0], a=pa.array([], pa.float64())))
    with pytest.raises(DataError, match="No file matches"):
        process_csv("/no/such", input_format="parquet")
