"""Promote specs and their decision."""

import pytest

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.period import is_older
from airflow_provider_distkeras.contract.specs import PromoteSpec

MARCH, APRIL = "2026-03-01T000000Z", "2026-04-01T000000Z"
PRESENT = {"champion_path": "file:///old/model", "champion_period": MARCH}


def spec(**fields):
    given = {"champion": "bikes", "model_path": "file:///new/model", "input_path": "held-out.csv", "period": APRIL}
    return PromoteSpec.build(**{**given, **fields})


@pytest.mark.parametrize(
    ("fields", "challenger", "champion", "larger_is_better", "expected"),
    [
        ({}, 0.2, None, True, (True, "r2 0.2, and there was no champion")),
        ({}, 0.91, 0.9, True, (True, "r2 0.91 against the champion's 0.9 is better by more than 0")),
        ({}, 0.9, 0.9, True, (False, "r2 0.9 against the champion's 0.9 is not better by more than 0")),
        ({"margin": 0.02}, 0.91, 0.9, True, (False, "r2 0.91 against the champion's 0.9 is not better by more than 0.02")),
        ({"margin": 0.02}, 0.93, 0.9, True, (True, "r2 0.93 against the champion's 0.9 is better by more than 0.02")),
        ({"metric": "rmse", "margin": 1}, 8.5, 10.0, False, (True, "rmse 8.5 against the champion's 10 is better by more than 1")),
        ({"metric": "rmse"}, 10.5, 10.0, False, (False, "rmse 10.5 against the champion's 10 is not better by more than 0")),
        ({"threshold": 0.5}, 0.4, None, True, (False, "r2 0.4 does not reach the threshold 0.5")),
        ({"threshold": 0.5}, 0.5, None, True, (True, "r2 0.5, and there was no champion")),
        ({"threshold": 0.5}, 0.4, 0.3, True, (False, "r2 0.4 does not reach the threshold 0.5")),
        ({"metric": "rmse", "threshold": 9}, 10.0, None, False, (False, "rmse 10 does not reach the threshold 9")),
        (
            {"period": MARCH, "champion_period": APRIL},
            0.99, 0.9, True,
            (False, f"r2 0.99 against the champion's 0.9, which is of a newer period ({APRIL}, not {MARCH}) and so stays"),
        ),
        (
            {"period": MARCH, "champion_period": APRIL, "allow_older": True},
            0.99, 0.9, True,
            (True, "r2 0.99 against the champion's 0.9 is better by more than 0"),
        ),
        ({"period": MARCH, "champion_period": MARCH}, 0.99, 0.9, True, (True, "r2 0.99 against the champion's 0.9 is better by more than 0")),
    ],
)  # fmt: skip
def test_the_decision_and_its_reason(fields, challenger, champion, larger_is_better, expected):
    promote_spec = spec(**(PRESENT if champion is not None else {}) | fields)
    assert promote_spec.decide(challenger, champion, larger_is_better=larger_is_better) == expected


@pytest.mark.parametrize(
    ("period", "other", "older"),
    [
        (MARCH, APRIL, True),
        (APRIL, MARCH, False),
        (MARCH, MARCH, False),
        ("2026-03-01T120000Z", "2026-03-01T120000.5Z", True),
        ("2026-03-01", APRIL, True),
        ("region=eu", "region=us", False),
        ("region=eu", MARCH, False),
    ],
)
def test_only_periods_that_begin_with_a_date_have_an_order(period, other, older):
    assert is_older(period, other) is older


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"champion": " "}, "champion: expected a text that is not empty, received ' '"),
        ({"margin": -0.1}, "margin: expected a number of at least 0, received -0.1"),
        ({"threshold": "high"}, "threshold: expected a number, received 'high'"),
        ({"metric": "r3"}, "Unknown metric of the regression evaluator 'r3'. Did you mean 'r2'?"),
        ({"evaluator": "binary", "metrics": ["r2"]}, "Unknown metric of the binary evaluator 'r2'."),
        ({"max_quarantined": 2}, "max_quarantined: expected a share from 0 to 1, received 2."),
        ({"allow_older": 1}, "allow_older: expected true or false, received 1"),
        ({"delimiter": '"'}, "quote: expected another character than the delimiter"),
    ],
)
def test_a_wrong_promote_spec_is_refused_with_the_fix(fields, message):
    with pytest.raises(SpecError) as error:
        spec(**fields)
    assert message in str(error.value)
