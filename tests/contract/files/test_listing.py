"""Input files: their format, and folders that partition them."""

import pytest

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files import listing
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.contract.specs import PreprocessSpec

STORAGE = LocalStorage()


@pytest.fixture
def write(tmp_path):
    """Makes files; returns their folder."""

    def write(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("x")
        return str(tmp_path)

    return write


def test_files_in_partition_folders_are_listed_without_hidden_ones(write):
    names = ["a.parquet", "day=1/hour=2/b.parquet", "_SUCCESS", "_temporary=1/c.parquet", "other/d.parquet"]
    folder = write(*names)
    assert list(listing.find(STORAGE, [f"{folder}/"])) == [f"file://{folder}/{name}" for name in names[:2]]
    assert list(listing.find(STORAGE, [f"{folder}/day=*/hour=*"])) == [f"file://{folder}/day=1/hour=2/b.parquet"]


def test_a_path_without_files_is_refused(tmp_path):
    with pytest.raises(DataError, match=f"No file matches '{tmp_path}'. Check the path"):
        listing.find(STORAGE, [str(tmp_path)])


def test_files_in_partition_folders_are_left_out_where_they_are_not_asked_for(write):
    folder = write("day=1/a.csv")
    with pytest.raises(DataError, match=f"There is no file in '{folder}/' itself: .* set '{folder}/\\*'"):
        listing.find(STORAGE, [f"{folder}/"], partitions=False)
    assert list(listing.find(STORAGE, [f"{folder}/*"], partitions=False)) == [f"file://{folder}/day=1/a.csv"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.parquet", "parquet"), ("a.csv", "csv"), ("day=1/a.snappy.parquet", "parquet"), ("a.txt.gz", "csv"), ("_none", "csv")],
)
def test_the_format_follows_from_the_names(write, name, expected):
    folder = write(name)
    assert PreprocessSpec.build(input_path=f"{folder}/").format_in(STORAGE) == expected
    assert PreprocessSpec.build(input_path=folder, input_format="parquet").format_in(STORAGE) == "parquet"


@pytest.mark.parametrize(
    ("path", "base", "values"),
    [
        ("s3a://b/rows/a.parquet", "s3a://b/rows", {}),
        ("s3a://b/rows/day=2026-01-01/part=2/a.parquet", "s3a://b/rows", {"day": "2026-01-01", "part": "2"}),
        ("/period=1/attempt/dataset/a.parquet", "/period=1/attempt/dataset", {}),
        ("/rows/city=S%C3%A3o%20Paulo/day=__HIVE_DEFAULT_PARTITION__/a.parquet", "/rows", {"city": "São Paulo", "day": None}),
    ],
)
def test_partition_folders_have_values(path, base, values):
    assert listing.base_of(path) == base
    assert listing.partitions_of(path) == values


def test_a_file_that_spark_cannot_open_by_its_name_is_refused(write):
    folder = write("day=10:00/a.parquet")
    assert list(listing.find(STORAGE, [folder])) == [f"file://{folder}/day=10:00/a.parquet"]
    write("b:1.parquet")
    with pytest.raises(DataError, match=r"Spark cannot open file:///\S*/b:1\.parquet: .* Rename the file\."):
        listing.find(STORAGE, [folder])
