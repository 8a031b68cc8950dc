"""Numbers in texts, as people and spreadsheets write them."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.files.number_format import NumberFormat
from airflow_provider_distkeras.ml import process_csv
from airflow_provider_distkeras.ml.data.sources.numbers import parse_numbers

COMMA = NumberFormat(decimal=",", thousands=".")
CURRENCY, PERCENT, SUFFIX = (NumberFormat(unit=unit) for unit in ("currency", "percent", "suffix"))


@pytest.mark.parametrize(
    ("written", "text", "value"),
    [
        (NumberFormat(decimal=","), "-1,5", -1.5),
        (NumberFormat(decimal=","), ",5e2", 50),
        (NumberFormat(decimal=","), "3,", 3),
        (NumberFormat(thousands=","), "+1,234,567.5", 1234567.5),
        (NumberFormat(thousands=","), "1234567", 1234567),
        (NumberFormat(thousands="'"), "12'000", 12000),
        (NumberFormat(thousands=" "), "12 000", 12000),
        (COMMA, "1.234,5", 1234.5),
        (CURRENCY, "$1,200.00", 1200),
        (CURRENCY, "-$4", -4),
        (CURRENCY, "$-4", -4),
        (CURRENCY, "(1,200)", -1200),
        (CURRENCY, "12.50 €", 12.5),
        (CURRENCY, "CHF 7", 7),
        (CURRENCY, "US$7", 7),
        (CURRENCY, "7", 7),
        (NumberFormat(unit="currency", decimal=","), "1.200,50 €", 1200.5),
        (PERCENT, "12 %", 0.12),
        (PERCENT, "-3.5%", -0.035),
        (SUFFIX, "19M", 19e6),
        (SUFFIX, "1.5 k", 1500),
        (SUFFIX, "7", 7),
    ],
)
def test_a_number_is_read(written, text, value):
    values, refused = parse_numbers(pa.array([text, None]), written)
    assert (values.to_pylist(), refused) == ([value, None], None)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (NumberFormat(decimal=","), "1.5"),
        (NumberFormat(thousands=","), "1,5"),
        (NumberFormat(thousands=","), "1,2345"),
        (NumberFormat(thousands=","), "1234,567"),
        (COMMA, "1,234.5"),
        (CURRENCY, "($4"),
        (CURRENCY, "(-4)"),
        (CURRENCY, "-$-4"),
        (CURRENCY, "4 dollars"),
        (PERCENT, "%"),
        (SUFFIX, "19Mio"),
        (SUFFIX, "Varies"),
        (NumberFormat(decimal=","), ""),
    ],
)
def test_what_is_written_otherwise_is_no_number(written, text):
    values, refused = parse_numbers(pa.array(["1", text]), written)
    assert (values.to_pylist()[1], refused) == (None, text)


@given(
    st.floats(-1e15, 1e15).map(lambda value: round(value, 4)),
    st.sampled_from([(".", ","), (",", "."), (",", " "), (".", "'"), (".", "_")]),
)
def test_what_python_writes_is_read_to_the_last_digit(value, separators):
    decimal, thousands = separators
    text = f"{value:,.4f}".translate({ord(","): thousands, ord("."): decimal})
    values, refused = parse_numbers(pa.array([text]), NumberFormat(decimal=decimal, thousands=thousands))
    assert (values.to_pylist(), refused) == ([float(f"{value:.4f}")], None)


@pytest.mark.spark
def test_each_column_is_read_as_it_is_written_and_misfits_are_bad_lines(spark, write):
    rows = "".join(f"1.{number:03d},50 €;{number} %;{number}k;1.{number:03d},5\n" for number in range(20))
    path = write(f"price;growth;size;label\n{rows}1 €;2 %;many;1\n1 €;-9;1k;1\n")
    data = process_csv(
        path, delimiter=";", decimal=",", thousands=".", null_values=["-9"], missing="drop", bad_lines="drop", max_bad_lines=0.1,
        number_formats={"price": "currency", "growth": "percent", "size": "suffix"},
    )  # fmt: skip
    read = sorted((*row["features"].toArray().tolist(), row["label"]) for row in data.collect())
    assert read == [(1000.5 + number, number / 100, number * 1000.0, 1000.5 + number) for number in range(20)]


@pytest.mark.spark
@pytest.mark.parametrize(
    ("texts", "proposal", "options"),
    [
        ("'{0},5'", "decimal=','", {"decimal": ","}),
        ("'1,{0:03d}'", "decimal=',' or thousands=','", {"decimal": ","}),
        ("'$1,{0:03d}.00'", "number_formats={'x': 'currency'}", {"number_formats": {"x": "currency"}}),
        ("'{0}%'", "number_formats={'x': 'percent'}", {"number_formats": {"x": "percent"}}),
        ("'{0}M'", "number_formats={'x': 'suffix'}", {"number_formats": {"x": "suffix"}}),
        ("'1.{0:03d},5'", "decimal=',', thousands='.'", {"decimal": ",", "thousands": "."}),
    ],
)
def test_the_error_names_the_options_that_read_it(spark, write, texts, proposal, options):
    rows = "".join(f"{texts.format(number)},1\n" for number in range(10))
    path = write(f"x,label\n{rows}".replace("'", '"'))
    with pytest.raises(DataError) as error:
        process_csv(path)
    assert f"Set {proposal} to read them as numbers." in str(error.value)
    assert process_csv(path, **options).count() == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decimal": ";"}, "decimal"),
        ({"decimal": ",", "thousands": ","}, "thousands: expected another character than decimal"),
        ({"decimal": ",", "quote": ""}, "delimiter: expected another character than those in numbers"),
        ({"number_formats": {"x": "dollars"}}, "number_formats"),
    ],
)
def test_options_that_contradict_are_refused(options, message):
    with pytest.raises(SpecError, match=message):
        process_csv("/data/x.csv", **options)


@pytest.mark.spark
def test_a_format_of_a_column_that_is_not_there_is_an_error(spark, write):
    with pytest.raises(DataError, match=r"number_formats: Unknown column 'prize'\. Did you mean 'price'"):
        process_csv(write("price,label\n$5,1\n"), number_formats={"prize": "currency"})
