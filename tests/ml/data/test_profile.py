"""Profiles against NumPy, in blocks and merged."""

import math

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_distkeras.ml.data.profile import QUANTILES, NumberProfile, TextProfile, TimeProfile


def profiled(kind, *blocks):
    profile = kind()
    for block in blocks:
        profile.add(block)
    return profile


def merged(kind, *parts):
    whole = kind()
    for part in parts:
        whole.merge_row(part.to_row())
    return whole


def test_numbers_are_described_as_numpy_does():
    values = np.random.default_rng(0).lognormal(size=50_000)
    halves = [profiled(NumberProfile, *(pa.array(b) for b in np.array_split(half, 7))) for half in np.split(values, [20_000])]
    profile = merged(NumberProfile, *halves)
    assert (profile.count, profile.minimum, profile.maximum) == (50_000, values.min(), values.max())
    assert profile.mean == pytest.approx(values.mean())
    assert profile.std == pytest.approx(values.std(ddof=1))
    ranks = [(values <= quantile).mean() for quantile in profile.quantiles()]
    np.testing.assert_allclose(ranks, QUANTILES, atol=0.01)


def test_missing_and_infinite_values_are_counted_apart():
    profile = profiled(NumberProfile, pa.array([1.0, None, math.nan, math.inf, 3.0]))
    assert (profile.rows, profile.count, profile.missing, profile.infinite, profile.mean) == (5, 2, 2, 1, 2.0)
    assert profiled(NumberProfile, pa.array([None], pa.float64())).describe() == {"kind": "number", "count": 0, "missing": 1}


def test_mean_and_spread_of_filled_values():
    profile = profiled(NumberProfile, pa.array([1.0, None, 4.0, None, None]))
    expected = np.array([1.0, 7.0, 4.0, 7.0, 7.0])
    filled = profile.filled(7.0)
    assert (filled.mean, filled.std) == pytest.approx((expected.mean(), expected.std(ddof=1)))


def test_texts_are_counted_and_bounded(monkeypatch):
    profile = merged(TextProfile, profiled(TextProfile, pa.array(["b", "a", None])), profiled(TextProfile, pa.array(["b", "c"])))
    assert profile.describe() == {"kind": "text", "count": 4, "missing": 1, "distinct": 3, "top": [["b", 2], ["a", 1], ["c", 1]]}
    monkeypatch.setattr(TextProfile, "limit", 2)
    bounded = profiled(TextProfile, pa.array(["a", "b", "c", "a"]))
    assert (bounded.counts, bounded.others) == ({"a": 2, "b": 1}, 1)
    assert bounded.describe()["distinct_at_least"] == 2


def test_times_are_described_as_times():
    profile = profiled(TimeProfile, pa.array([0, 86_400_000_000, None], pa.timestamp("us"))).describe()
    assert (profile["min"], profile["mean"], profile["max"]) == (
        "1970-01-01T00:00:00",
        "1970-01-01T12:00:00",
        "1970-01-02T00:00:00",
    )
