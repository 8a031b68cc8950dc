"""Runs on executors. Numbers that are written with more than digits and a decimal point."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_distkeras.contract.files.number_format import SUFFIXES, NumberFormat


def parse_numbers(texts: pa.Array, written: NumberFormat) -> tuple[pa.Array, str | None]:
    """Return texts as float64, and one that is no number as it should be written, if there is one; it is null.

    Args:
        texts: strings, without spaces around them; null where a value is missing.
        written: how numbers are written.
    """
    matches = pc.extract_regex(texts, written.pattern)
    part = {name: pc.struct_field(matches, [name]) for name in matches.type.names}
    signs = pc.binary_join_element_wise(part["opened"], part["sign"], part["inner"], "")
    fits = pc.and_(pc.less_equal(pc.binary_length(signs), 1), pc.equal(pc.equal(signs, "("), pc.equal(part["closed"], ")")))
    refused = texts.filter(pc.and_(pc.is_valid(texts), pc.invert(pc.fill_null(fits, False))))
    whole = pc.replace_substring(part["whole"], written.separator, "") if written.separator else part["whole"]
    numbers = pc.binary_join_element_wise("0", whole, ".", part["fraction"], part["only"], "0", part["exponent"], "")
    values = pc.if_else(fits, numbers, None).cast(pa.float64())
    if written.unit == "percent":
        values = pc.divide(values, 100.0)
    elif written.unit == "suffix":
        factors = pc.index_in(pc.utf8_lower(pc.utf8_trim_whitespace(part["suffix"])), pa.array([*SUFFIXES]))
        values = pc.multiply(values, pa.array([*SUFFIXES.values(), 1.0]).take(pc.fill_null(factors, len(SUFFIXES))))
    below_zero = pc.is_in(signs, pa.array(["-", "("]))
    return pc.if_else(below_zero, pc.negate(values), values), refused[0].as_py() if len(refused) else None
