"""Drift between profiles of given values."""

import json
import math
from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.errors import ArtifactError, DataError
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.contract.specs import PreprocessSpec, TrainSpec
from airflow_provider_distkeras.ml.data.drift import LEAST_SHARE, Drift, compare, profile_of
from airflow_provider_distkeras.ml.data.profile import QUANTILES, profile_for

RANDOM = np.random.default_rng(3)
NORMAL = RANDOM.normal(size=200_000)


def profiled(values, kind="number", tasks=2):
    """A profile merged from several tasks."""
    types = {"number": pa.float64(), "timestamp": pa.timestamp("us"), "text": pa.string()}
    whole = profile_for(kind)
    for part in np.array_split(np.array(values, object), tasks):
        profile = profile_for(kind)
        profile.add(pa.array(part.tolist(), types[kind]))
        whole.merge_row(profile.to_row())
    return whole


def described(**profiles):
    """Profiles as they come back from a manifest."""
    return json.loads(json.dumps({name: profile.describe() for name, profile in profiles.items()}))


def drift_of(before, after, kind="number"):
    return compare(described(column=profiled(before, kind)), {"column": profiled(after, kind, tasks=3)}).index["column"]


def psi_of(before, after):
    shares = np.maximum([before, after], LEAST_SHARE)
    return ((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (NORMAL[:50_000], "number"),
        (RANDOM.choice([0.0, 1.0], 5000, p=[0.65, 0.35]), "number"),
        (RANDOM.integers(1, 8, 5000).astype(float), "number"),
        (np.where(NORMAL[:5000] < 0.3, 0.0, NORMAL[:5000]), "number"),
        ([5.0] * 100, "number"),
        ([5.0] * 60 + [None] * 40, "number"),
        (range(0, 1000 * 86_400_500_000, 86_400_500_000), "timestamp"),
        (range(1_700_000_000_000_000, 1_700_000_000_900_000, 900), "timestamp"),
        (range(-1_500_000, -1_499_000), "timestamp"),
        (RANDOM.choice(["a", "b", "c", None], 1000), "text"),
        ([f"only-{number}" for number in range(1000)], "text"),
    ],
    ids=["normal", "two", "seven", "spike", "constant", "gaps", "times", "within-a-second", "before-1970", "texts", "many-texts"],
)
def test_the_same_values_have_not_moved(values, kind):
    values = list(values)
    assert drift_of(values, values, kind) == pytest.approx(0, abs=0.002)


def test_a_shifted_normal_has_moved_as_far_as_can_be_calculated():
    before, after = NormalDist(), NormalDist(0.5)
    edges = [NORMAL.min(), *map(before.inv_cdf, QUANTILES), NORMAL.max()]
    shares = [np.diff([0, *map(normal.cdf, edges), 1]) for normal in (before, after)]
    assert drift_of(NORMAL, NORMAL + 0.5) == pytest.approx(psi_of(*shares), rel=0.03)


def test_missing_values_are_a_bin_of_their_own():
    expected = pytest.approx(psi_of([0.8, 0.2], [0.5, 0.5]), abs=1e-4)
    assert drift_of(["a"] * 80 + [None] * 20, ["a"] * 50 + [None] * 50, "text") == expected
    assert drift_of([1.0] * 80 + [None] * 20, [1.0] * 50 + [None] * 50) == expected


@pytest.mark.parametrize("after", [4.9, 5.1])
def test_a_constant_that_changes_moves_as_far_as_can_be(after):
    assert drift_of([5.0] * 100, [after] * 100) == pytest.approx(2 * (1 - LEAST_SHARE) * -math.log(LEAST_SHARE), abs=1e-3)


def test_booleans_move_by_their_share():
    before, after = [1.0] * 200 + [0.0] * 800, [1.0] * 400 + [0.0] * 600
    assert drift_of(before, after) == pytest.approx(psi_of([0.8, 0.2], [0.6, 0.4]), abs=1e-4)


def test_texts_that_were_not_there_are_others():
    before = ["a"] * 600 + ["b"] * 400
    assert drift_of(before, before + ["new"] * 1000, "text") == pytest.approx(psi_of([0.6, 0.4, 0], [0.3, 0.2, 0.5]), abs=1e-4)


def test_columns_are_in_the_order_of_their_drift_and_new_and_gone_ones_are_named():
    still, moved, text = profiled(NORMAL[:1000]), profiled(NORMAL[:1000] + 3), profiled(["a"], "text", 1)
    before = described(still=still, moved=still, gone=still, retyped=still)
    result = compare(before, {"still": still, "added": still, "retyped": text, "moved": moved})
    assert list(result.index) == ["moved", "still"]
    assert (result.index["still"], result.added, result.gone) == (0, ["added", "retyped"], ["gone", "retyped"])
    assert str(result).endswith("'still' (0); new added, retyped; gone gone, retyped")


def test_only_what_has_moved_too_far_is_refused_and_never_times():
    result = Drift({"day": 9.0, "temp": 0.3, "hum": 0.25}, [], [], frozenset({"day"}))
    with pytest.raises(DataError) as error:
        result.check(0.25, "file:///earlier")
    expected = "Columns have drifted since file:///earlier: expected a PSI of at most max_drift=0.25, received 'temp' (0.3)."
    assert str(error.value).startswith(expected)
    result.check(0.3, "file:///earlier")


@pytest.mark.parametrize(
    ("spec", "details", "message"),
    [
        (TrainSpec, {}, "expected what a preprocess task returned, received {path}, of a train task."),
        (PreprocessSpec, {}, "{path} has no profile that can be compared"),
        (PreprocessSpec, {"profile": {"a": {"kind": "number", "quantiles": {"0.5": 1}}}}, "{path} has no profile that can be"),
    ],
)
def test_what_has_no_profile_is_refused(tmp_path, spec, details, message):
    result = dict.fromkeys(spec.result_fields) | {"rows": 1, "rejected_rows": 0}
    manifest = Manifest(spec.kind, "0" * 64, result, {}, spec.details_class(**details))
    path = f"file://{tmp_path}/_MANIFEST.json"
    LocalStorage().write_bytes(path, manifest.to_json().encode())
    with pytest.raises(ArtifactError) as error:
        profile_of(LocalStorage(), path)
    assert message.format(path=path) in str(error.value)
