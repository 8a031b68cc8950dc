"""Headers and first rows of CSV files."""

import bz2
import gzip

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.files.csv_dialect import Dialect
from airflow_provider_distkeras.contract.files.csv_header import inspect
from airflow_provider_distkeras.contract.files.storage import LocalStorage, as_uri
from airflow_provider_distkeras.spark.zstd import decompress_head


def look(tmp_path, *contents, pattern="*.csv", left_out=(), **dialect):
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.csv").write_text(content)
    return inspect(LocalStorage(), [f"{tmp_path}/{pattern}"], Dialect(**dialect), left_out=left_out)


def test_columns_are_those_of_the_first_file_and_order_may_differ(tmp_path):
    files = look(tmp_path, "a,b\n1,2\n", "b,a\n2,1\n")
    assert files.columns == ["a", "b"]
    assert list(files.sizes.values()) == [8, 8]


def test_spaces_quotes_a_byte_order_mark_and_compression_are_understood(tmp_path):
    (tmp_path / "x.csv").write_text('\ufeff a ,"b, c"\r\n1,2\r\n')
    assert inspect(LocalStorage(), [str(tmp_path)], Dialect()).columns == ["a", "b, c"]
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"a;b\n1;2\n"))
    assert inspect(LocalStorage(), [as_uri(f"{tmp_path}/*.gz")], Dialect(";")).columns == ["a", "b"]


def test_question_marks_and_hashes_belong_to_local_paths(tmp_path):
    (tmp_path / "a#b").mkdir()
    (tmp_path / "a#b" / "1.csv").write_text("a\n1\n")
    assert inspect(LocalStorage(), [as_uri(f"{tmp_path}/a#b/?.csv")], Dialect()).columns == ["a"]


def test_a_file_that_is_not_compressed_as_its_extension_claims_is_named(tmp_path):
    (tmp_path / "x.csv.gz").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"x.csv.gz is not compressed as its name says"):
        inspect(LocalStorage(), [str(tmp_path)], Dialect())


def test_hidden_files_of_a_directory_are_left_out(tmp_path):
    (tmp_path / "_SUCCESS").write_text("")
    assert look(tmp_path, "a\n1\n", pattern="").columns == ["a"]


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ([], "No file matches"),
        ([""], "0.csv is empty: expected a header line and rows"),
        (["a,b\n1,2\n", ""], "1.csv is empty"),
        (["a,b\n"], "hold only a header"),
        (["a,a\n1,2\n"], "Duplicate column 'a' in the header of"),
        (["a,b,A\n1,2,3\n"], "'a' and 'A' differ only in case"),
        (["a;b\n1;2\n"], "is one field, 'a;b': expected fields that ',' sets apart. Set delimiter=';'"),
        (["PK\x03\x04 and more\n"], "0.csv is a zip archive, or a spreadsheet: unpack it"),
        (["a,\0b\n1,2\n"], "holds NUL: this is no text in utf-8"),
        (["a,,b\n1,2,3\n"], "A column without a name in the header of"),
        (["a,b\n1,2\n", "a,c\n1,2\n"], "lacking ['b'], added ['c']"),
        (["5.1 3.5 a\n1.2 2.2 b\n"], "is one field, '5.1 3.5 a': expected fields that ',' sets apart. Set delimiter=' '"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path, contents, message):
    with pytest.raises(DataError) as error:
        look(tmp_path, *contents)
    assert message in str(error.value)


def test_a_first_row_or_a_block_longer_than_the_first_look_is_read_whole(tmp_path):
    long = "x" * 1_000_000
    files = look(tmp_path, f"a,label\n{long},2\nz,3\n")
    assert files.columns == ["a", "label"]
    assert files.samples[as_uri(f"{tmp_path}/0.csv")][0] == [long, "2"]
    names = ",".join(f"{long[:1000]}{number}" for number in range(400))
    (tmp_path / "wide").mkdir()
    assert len(look(tmp_path / "wide", f"{names}\n{','.join('1' * 400)}\n").columns) == 400
    random = np.random.default_rng(0).integers(10**8, 10**9, (40_000, 5))
    rows = "\n".join(",".join(map(str, row)) for row in random.tolist())
    (tmp_path / "x.csv.bz2").write_bytes(bz2.compress(f"a,b,c,d,label\n{rows}\n".encode()))
    files = inspect(LocalStorage(), [f"{tmp_path}/x.csv.bz2"], Dialect())
    assert files.columns == ["a", "b", "c", "d", "label"]
    assert next(iter(files.samples.values()))[0] == list(map(str, random[0]))


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "utf-8", "is compressed by gzip: give it a name that ends with .gz"),
        ("a,b\n1,2\n".encode("utf-16"), "utf-8", "begins as UTF-16 does: set encoding='utf-16'"),
        (b"a,b\n1,2\n", "utf-16", "Are they written in utf-16?"),
        ("über,b\n1,2\n".encode("latin-1"), "utf-8", "is no text in utf-8. Set encoding, or restore the file."),
    ],
)
def test_another_encoding_is_named_where_it_shows(tmp_path, content, encoding, message):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(DataError) as error:
        inspect(LocalStorage(), [f"{tmp_path}/x.csv"], Dialect(encoding=encoding))
    assert message in str(error.value)


def test_without_a_decompressor_zstd_files_are_listed_and_left_to_the_job(tmp_path):
    content = pa.compress(b"a;b\n1;2\n", "zstd", asbytes=True)
    (tmp_path / "a.csv.zst").write_bytes(content)

    files = inspect(LocalStorage(), [str(tmp_path)], Dialect(";"))
    assert (files.sizes, files.headers) == ({f"file://{tmp_path}/a.csv.zst": len(content)}, {})
    assert inspect(LocalStorage(), [str(tmp_path)], Dialect(";"), decompress_head).columns == ["a", "b"]

    (tmp_path / "b.csv").write_text("b;a\n")
    assert inspect(LocalStorage(), [str(tmp_path)], Dialect(";")).columns == ["b", "a"]


def test_a_file_that_is_not_compressed_by_zstd_is_refused(tmp_path):
    (tmp_path / "a.csv.zst").write_text("a;b\n")
    with pytest.raises(DataError, match="is not compressed as its name says"):
        inspect(LocalStorage(), [str(tmp_path)], Dialect(";"), decompress_head)


def test_all_members_of_a_compressed_file_belong_to_its_beginning(tmp_path):
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"a,b\n") + gzip.compress(b"3,4\n"))
    (tmp_path / "x.csv.bz2").write_bytes(bz2.compress(b"a,b\n") + bz2.compress(b"3,4\n"))
    assert list(inspect(LocalStorage(), [str(tmp_path)], Dialect()).samples.values()) == [[["3", "4"]]] * 2


@pytest.mark.parametrize(
    "line",
    [
        "5.1,3.5,x", "a,1", "2026-03-01,a", "a,-2e5", "01/02/2020 10:00,b", "b,10:30",
        "true,a", "b,FALSE", "$5,x", "12%,y", "b,€ 1 000.50", "-12.5 €,b",
    ],
)  # fmt: skip
def test_a_header_that_looks_like_values_is_refused_with_the_options_that_read_it(tmp_path, line):
    with pytest.raises(
        DataError, match=r"looks like values, such as '.*'\. If the file has no header, set header=False: .*header=True"
    ):
        look(tmp_path, f"{line}\n{line}\n")
    assert look(tmp_path, f"{line}\n{line}\n", header=True).columns == line.split(",")


@pytest.mark.parametrize("line", ["vhigh,vhigh,2,2,low", "B,1,1,1"])
def test_equal_values_in_a_first_line_are_seen_to_be_values_before_they_are_seen_to_be_equal(tmp_path, line):
    with pytest.raises(DataError, match=r"looks like values, such as .*set header=False"):
        look(tmp_path, f"{line}\n{line}\n")


def test_equal_words_in_a_first_line_may_be_values_too(tmp_path):
    with pytest.raises(DataError, match=r"Duplicate column 'x' .* If the file has no header, set header=False\."):
        look(tmp_path, "p,x,x\ne,x,s\n")


def test_a_name_that_is_left_out_may_look_like_a_value(tmp_path):
    assert look(tmp_path, "country,2019\nde,1\n", left_out=["2019"]).columns == ["country", "2019"]


@pytest.mark.parametrize("contents", [("a,b\n1,2\n", "3,4\n"), ("3,4\n", "a,b\n1,2\n")])
def test_files_with_and_without_a_header_are_not_read_together(tmp_path, contents):
    named, other = sorted(range(2), key=lambda number: contents[number], reverse=True)
    message = rf"{other}\.csv looks like values, such as '3', and that of \S*/{named}\.csv does not: .* Give each its header\."
    with pytest.raises(DataError, match=message) as error:
        look(tmp_path, *contents)
    assert "header=False" not in str(error.value)


def test_where_the_model_knows_its_columns_only_a_header_without_any_name_looks_like_values(tmp_path):
    assert look(tmp_path, "2020,x\n1,2\n", left_out=None).columns == ["2020", "x"]
    with pytest.raises(
        DataError, match=r"looks like values, such as '1'\. If the file has no header, give it that of the training"
    ):
        look(tmp_path, "1,2\n3,4\n", left_out=None)


@pytest.mark.parametrize(("line", "dialect"), [("day 1", {}), ("0 17 255", {"header": False}), ("2 x 4", {"header": True})])
def test_a_field_with_spaces_may_be_the_only_one(tmp_path, line, dialect):
    assert len(look(tmp_path, f"{line}\n{line}.\n", **dialect).columns) == 1


def test_a_missing_value_of_mysql_is_none_beside_escapes(tmp_path):
    files = look(tmp_path, 'a,b\n\\N,"x\\"y"\n1,\\N\n', escape="\\")
    assert list(files.samples.values()) == [[["\\N", 'x"y'], ["1", "\\N"]]]


@pytest.mark.parametrize("line", ["a1,b", "x.1,y", "2nd,3d", "day 1,-", "1a,v2", "nan,inf", "$,%", "US$,truth", "% of 5,$x"])
def test_a_header_with_digits_is_one(tmp_path, line):
    assert look(tmp_path, f"{line}\n1,2\n").columns == line.split(",")


def test_files_without_a_header_have_columns_by_number_and_keep_their_first_row(tmp_path):
    files = look(tmp_path, "5.1,x\n4,y\n", "5.1,x\n", header=False)
    assert files.columns == ["0", "1"]
    assert list(files.samples.values()) == [[["5.1", "x"], ["4", "y"]], [["5.1", "x"]]]
    assert {*files.above.values()} == {()}
    assert not files.header_lines


@pytest.mark.parametrize(
    ("header", "left_out", "columns"),
    [(",x", [""], ["", "x"]), ("x,y,y", ["y"], ["x", "y"]), ("x,X", ["X"], ["x", "X"]), ("x,X", ["x"], ["x", "X"])],
)
def test_columns_that_are_left_out_may_have_any_name(tmp_path, header, left_out, columns):
    (tmp_path / "0.csv").write_text(f"{header}\n{header.replace('x', '1')}\n")
    assert inspect(LocalStorage(), [str(tmp_path)], Dialect(), left_out=left_out).columns == columns
    with pytest.raises(DataError, match=r"excluded_columns"):
        inspect(LocalStorage(), [str(tmp_path)], Dialect())


def test_files_may_differ_in_columns_that_are_left_out(tmp_path):
    contents = ["x,label\n1,2\n", "x,label,new\n3,4,5\n"]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.csv").write_text(content)
    assert inspect(LocalStorage(), [str(tmp_path)], Dialect(), left_out=["new"]).columns == ["x", "label", "new"]
    with pytest.raises(DataError, match=r"lacking \[\], added \['new'\]"):
        inspect(LocalStorage(), [str(tmp_path)], Dialect())


def test_where_the_model_knows_its_columns_those_with_odd_names_are_not_read(tmp_path):
    (tmp_path / "0.csv").write_text(",x,y,Y,z\n1,2,3,4,5\n")
    assert inspect(LocalStorage(), [str(tmp_path)], Dialect(), left_out=None).columns == ["x", "z"]


@pytest.mark.parametrize("name", ["d[1].csv", "{1}.csv", "a*.csv", "w?.csv"])
def test_a_file_that_exists_is_meant_by_its_name_and_no_other(tmp_path, name):
    (tmp_path / name).write_text("a\n1\n")
    (tmp_path / "d1.csv").write_text("b\n2\n")
    (tmp_path / "abc.csv").write_text("b\n2\n")
    assert inspect(LocalStorage(), [f"{tmp_path}/{name}"], Dialect()).columns == ["a"]


def test_folders_that_exist_are_meant_by_their_names_and_no_others(tmp_path):
    for number, folder in enumerate(("h1", "h[1]", "h[2]", "h2/{a}")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.csv").write_text(f"c{number}\n1\n")
    for pattern, column in (
        ("h[1]/*.csv", "c1"),
        ("h[1]/x.csv", "c1"),
        ("h[1]", "c1"),
        ("h[13]/*.csv", "c0"),
        ("h2/{a}/?.csv", "c3"),
    ):
        assert inspect(LocalStorage(), [f"{tmp_path}/{pattern}"], Dialect()).columns == [column]


def test_a_file_that_spark_cannot_open_by_its_name_is_refused(tmp_path):
    (tmp_path / "day=10:00").mkdir()
    (tmp_path / "day=10:00" / "x.csv").write_text("a\n1\n")
    assert inspect(LocalStorage(), [f"{tmp_path}/day=10:00"], Dialect()).columns == ["a"]
    (tmp_path / "10:00.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"Spark cannot open file:///\S*/10:00\.csv: .* no colon\. Rename the file\."):
        inspect(LocalStorage(), [str(tmp_path)], Dialect())
