"""Whole files to records, in this process."""

import bz2
import gzip

import pyarrow as pa
import pytest

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.csv_dialect import Dialect
from airflow_provider_distkeras.contract.files.csv_header import inspect
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.ml.data.sources import csv_records
from airflow_provider_distkeras.ml.data.sources.csv_records import feeds, split

TEXT = 'a,b\r\n1,"x\r\ny"\r\n\r\n2,"say ""hi"""\n3,z'
RECORDS = ["a,b", '1,"x\r\ny"', "", '2,"say ""hi"""', "3,z"]


def records_of(content, path="x.csv", **dialect):
    blocks = split(path, pa.py_buffer(content), Dialect(multiline=True, **dialect))
    return [record.decode() for block in blocks for record in block.to_pylist()]


@pytest.mark.parametrize("block", [1, 2, 3, 5, 1 << 20])
def test_a_line_break_inside_quotes_ends_no_record_wherever_blocks_end(monkeypatch, block):
    monkeypatch.setattr(csv_records, "_BLOCK", block)
    assert records_of(TEXT.encode()) == RECORDS


@pytest.mark.parametrize(
    ("ending", "compress"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".zst", lambda content: pa.compress(content, "zstd", asbytes=True))],
)
def test_compressed_files_are_known_by_their_names(ending, compress):
    content = compress(TEXT.encode())
    assert records_of(content, f"x.csv{ending}") == RECORDS
    with pytest.raises(DataError, match=f"x.csv{ending} cannot be read"):
        records_of(content[: len(content) // 2], f"x.csv{ending}")


def test_wide_encodings():
    assert records_of(TEXT.encode("utf-16"), encoding="utf-16") == RECORDS
    with pytest.raises(DataError, match=r"x.csv cannot be read: .* Is it whole, and written in utf-16"):
        records_of(TEXT.encode("utf-16")[:-1], encoding="utf-16")


@pytest.mark.parametrize("dialect", [Dialect(), Dialect(multiline=True), Dialect(encoding="utf-16")])
@pytest.mark.parametrize("above", ["", "\r\n", "  \r\n,\r\n", '"\r\n', "\r\r\n"])
def test_the_rows_begin_behind_the_header_whatever_lines_without_text_precede_it(tmp_path, dialect, above):
    content = f"{above}a,b\r\n1,2\r\n3,4\r\n".encode(dialect.encoding)
    (tmp_path / "x.csv").write_bytes(content)
    files = inspect(LocalStorage(), [str(tmp_path)], dialect)
    (feed,) = feeds(files, dialect)
    columns = (
        {"content": [content], "path": ["x.csv"]} if feed.whole else {"value": content.decode(dialect.encoding).splitlines()}
    )

    (block,) = feed.blocks([pa.RecordBatch.from_pydict(columns)], dialect)

    assert files.columns == ["a", "b"]
    assert block.records.to_pylist() == [b"1,2", b"3,4"]
