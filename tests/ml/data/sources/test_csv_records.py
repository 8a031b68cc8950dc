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


@pytest.mark.parametrize(
    "content", [b"a,b\r1,2\r3,4\r", b"a,b\r1,2\r3,4", b"a,b\r\n1,2\r\n3,4\r\n", b"\xef\xbb\xbf\r\ra,b\r1,2\r3,4"]
)
def test_a_carriage_return_alone_ends_a_line_of_a_whole_file_too(tmp_path, content):
    assert rows_of(tmp_path, content, Dialect(multiline=True)) == [b"1,2", b"3,4"]


@pytest.mark.parametrize("dialect", [Dialect(), Dialect(multiline=True)])
@pytest.mark.parametrize("repeated", [b"a,b", b'"a","b"', b'a,"b"', b' "a", "b"', b"a , b ", b'"a" ,  "b" ', b"\xef\xbb\xbfa,b"])
def test_a_repeated_header_is_no_row_however_it_is_quoted(tmp_path, dialect, repeated):
    content = b"a,b\n1,2\n" + repeated + b"\naa,b\na,bb\n3,4\n"
    assert rows_of(tmp_path, content, dialect) == [b"1,2", b"aa,b", b"a,bb", b"3,4"]


@pytest.mark.parametrize("dialect", [Dialect(), Dialect(multiline=True)])
@pytest.mark.parametrize("header", [b"a,b", b' "a","b"', b'"say ""a""",b'])
def test_headers_are_counted(tmp_path, dialect, header):
    (tmp_path / "x.csv").write_bytes(header + b"\n1,2\n" + header + b"\n" + header + b"\n3,4\n")
    (feed,) = feeds(inspect(LocalStorage(), [str(tmp_path)], dialect), dialect)
    blocks = list(feed.blocks([batch_of(tmp_path, feed)], dialect))
    assert sum(block.headers for block in blocks) - feed.own_headers == 2
    assert [record for block in blocks for record in block.records.to_pylist()] == [b"1,2", b"3,4"]


@pytest.mark.parametrize("dialect", [Dialect(header=False), Dialect(multiline=True, header=False)])
def test_every_line_of_a_file_without_a_header_is_a_row(tmp_path, dialect):
    assert rows_of(tmp_path, b"1,2\n3,4\n1,2\n", dialect) == [b"1,2", b"3,4", b"1,2"]


def test_quotes_that_are_escaped_close_nothing():
    text = b'"5\\" pipe\nlong",1\n"a\\\\",2\n"b\n\\\\\\" c",3\n'
    records = ['"5\\" pipe\nlong",1', '"a\\\\",2', '"b\n\\\\\\" c",3']
    assert records_of(text, escape="\\") == records


def rows_of(tmp_path, content, dialect):
    """The records behind the header of a file."""
    (tmp_path / "x.csv").write_bytes(content)
    files = inspect(LocalStorage(), [str(tmp_path)], dialect)
    (feed,) = feeds(files, dialect)
    return [record for block in feed.blocks([batch_of(tmp_path, feed)], dialect) for record in block.records.to_pylist()]


def batch_of(tmp_path, feed):
    """A file as Spark hands it to a feed."""
    content = (tmp_path / "x.csv").read_bytes()
    columns = {"content": [content], "path": ["x.csv"]} if feed.whole else {"value": content.decode().splitlines()}
    return pa.RecordBatch.from_pydict(columns)
