"""Checks of fields."""

import pytest

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import Field, choice, integer, list_of, mapping_of, number, optional, text


@pytest.mark.parametrize(
    ("check", "given", "expected"),
    [
        (integer(1), "10", 10),
        (integer(1), 3.0, 3),
        (number(0.0, 1.0), "0.25", 0.25),
        (list_of(number()), "[0.1, 2]", [0.1, 2.0]),
        (mapping_of(text), '{"cnt": "label"}', {"cnt": "label"}),
        (optional(integer(1)), "None", None),
        (text, "10", "10"),
        (optional(text), None, None),
    ],
)
def test_templates_render_texts_that_are_read_as_what_they_stand_for(check, given, expected):
    assert Field(check, None, "").cast("x", given) == expected


@pytest.mark.parametrize(
    ("check", "given", "message"),
    [
        (integer(1), 0, "num: expected an integer of at least 1, received 0 (int)."),
        (integer(1), True, "num: expected an integer of at least 1, received True (bool)."),
        (integer(1), "many", "num: expected an integer of at least 1, received 'many' (str)."),
        (integer(1), float("nan"), "num: expected an integer of at least 1, received nan (float)."),
        (number(0.0, 1.0), 1.0, "num: expected a number of at least 0 and below 1, received 1.0 (float)."),
        (number(positive=True), 0, "num: expected a number above 0, received 0 (int)."),
        (list_of(integer(1)), [1, "x"], "num[1]: expected an integer of at least 1, received 'x' (str)."),
        (mapping_of(integer(1)), {"a": None}, "num['a']: expected an integer of at least 1, received None (NoneType)."),
        (text, "  ", "num: expected a text that is not empty, received '  ' (str)."),
        (
            choice("policy", ["fail", "mean"]),
            "meen",
            "num: Unknown policy 'meen'. Did you mean 'mean'? Valid: fail, mean.",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_was_expected(check, given, message):
    with pytest.raises(SpecError) as error:
        Field(check, None, "").cast("num", given)
    assert str(error.value) == message
