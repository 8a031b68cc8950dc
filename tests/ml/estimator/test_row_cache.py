"""Rows that a machine holds, and what fits are cut out of them, against plain NumPy."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.ml.data.feature_statistics import FILLED, FeatureMap
from airflow_provider_distkeras.ml.estimator import row_cache
from airflow_provider_distkeras.ml.estimator.fold import PART, TEST, VALIDATION, Fold
from airflow_provider_distkeras.ml.estimator.row_cache import FoldSlice, RowSummary
from tests.ml.prepared import lists

ROWS, FEATURES = 90, 3


@pytest.fixture
def rows():
    """Features, class labels, weights, parts, and what was filled in, of rows in four parts and two special ones."""
    random = np.random.default_rng(0)
    return {
        "features": random.normal(size=(ROWS, FEATURES)).astype(np.float32),
        "label": (np.arange(ROWS) % 9 == 0).astype(np.float32),
        "weight": random.uniform(1, 2, ROWS).astype(np.float32),
        "part": random.permutation(np.resize([0, 1, 2, 3, VALIDATION, TEST], ROWS)).astype(np.int32),
        "filled": random.random((ROWS, FEATURES)) < 0.2,
    }


def batches(rows, size=25, with_filled=True):
    columns = {
        "features": lists(rows["features"]),
        "label": lists(rows["label"][:, None]),
        "weight": pa.array(rows["weight"]),
        "validation": pa.array(rows["part"] == VALIDATION),
        PART: pa.array(rows["part"]),
    }
    if with_filled:
        columns[FILLED] = pa.array([np.flatnonzero(row).tolist() or None for row in rows["filled"]], pa.list_(pa.int32()))
    return pa.table(columns).to_batches(size)


def store(rows, folder, *, with_moments=False, cache_bytes=1 << 30, **said):
    return row_cache.store(folder.name, str(folder), batches(rows, **said), cache_bytes, with_moments=with_moments)


def find(folder, cut):
    return row_cache.load(folder.name, cut, 1, str(folder))


def expected(rows, mask, mapping=None, weights=None):
    """Records of the marked rows, in any order."""
    features = rows["features"].astype(np.float64)
    if mapping is not None:
        filled = rows["filled"] & ~np.isnan(mapping.fill)
        features = np.where(filled, mapping.fill, features) * mapping.scale + mapping.offset
    weight = rows["weight"] * (np.ones(ROWS) if weights is None else weights)
    return in_order(np.column_stack([features, rows["label"], weight]).astype(np.float32)[mask])


def in_order(records):
    return records[np.lexsort(records.T)]


MAPPING = FeatureMap(np.array([2.0, 0.5, -1.0]), np.array([0.0, 3.0, 1.0]), np.array([9.0, np.nan, -4.0]))


@pytest.mark.parametrize("cache_bytes", [1 << 30, 600])
@pytest.mark.parametrize("mapping", [None, MAPPING])
def test_a_fit_is_given_the_rows_of_its_fold_by_the_fold_s_statistics(rows, tmp_path, monkeypatch, mapping, cache_bytes):
    monkeypatch.setattr(row_cache, "_BLOCK_ROWS", 7)
    store(rows, tmp_path, cache_bytes=cache_bytes)
    found = find(tmp_path, FoldSlice(Fold((0, 2, 3), 1), mapping))
    part = rows["part"]
    for name, mask in {"training": np.isin(part, [0, 2, 3]), "validation": part == VALIDATION, "held_out": part == 1}.items():
        np.testing.assert_allclose(in_order(getattr(found, name).records), expected(rows, mask, mapping), rtol=1e-6)


def test_without_anything_filled_in_only_scale_and_offset_count(rows, tmp_path):
    store(rows, tmp_path, with_filled=False)
    found = find(tmp_path, FoldSlice(Fold((0,), TEST), MAPPING))
    nothing = replace(MAPPING, fill=np.full(FEATURES, np.nan))
    np.testing.assert_allclose(in_order(found.held_out.records), expected(rows, rows["part"] == TEST, nothing), rtol=1e-6)


@pytest.mark.parametrize("said", ["balanced", {1.0: 5.0}])
def test_classes_are_weighed_in_training_rows_only(rows, tmp_path, said):
    store(rows, tmp_path)
    found = find(tmp_path, FoldSlice(Fold((0, 1), 2), None, said))
    trained, positive = np.isin(rows["part"], [0, 1]), rows["label"] == 1
    count, positives = trained.sum(), (trained & positive).sum()
    by_class = {0.0: count / 2 / (count - positives), 1.0: count / 2 / positives} if said == "balanced" else {0.0: 1.0, 1.0: 5.0}
    weights = np.where(positive, by_class[1.0], by_class[0.0])
    np.testing.assert_allclose(in_order(found.training.records), expected(rows, trained, None, weights), rtol=1e-6)
    np.testing.assert_array_equal(in_order(found.held_out.records), expected(rows, rows["part"] == 2))
    np.testing.assert_array_equal(in_order(found.validation.records), expected(rows, rows["part"] == VALIDATION))


def test_other_cuts_of_the_same_rows_have_other_names():
    cuts = [
        FoldSlice(Fold((0, 1), 2)),
        FoldSlice(Fold((0, 2), 1)),
        FoldSlice(Fold((0, 1), 2), None, "balanced"),
        FoldSlice(Fold((0, 1), 2), None, {1.0: 2.0}),
    ]
    assert len({cut.name for cut in cuts}) == 4
    assert FoldSlice(Fold((0, 1), 2)).name == cuts[0].name


def test_the_survey_tells_how_many_rows_each_part_has_and_what_describes_them(rows, tmp_path):
    told = store(rows, tmp_path, with_moments=True)
    found = RowSummary.from_report(*told.to_report())
    assert found.rows == dict.fromkeys((0, 1, 2, 3, VALIDATION, TEST), 15)
    for part in (0, 1, 2, 3):
        mine = rows["part"] == part
        known = np.where(rows["filled"][mine], np.nan, rows["features"][mine])
        np.testing.assert_array_equal(found.moments[part].count, (~np.isnan(known)).sum(axis=0))
        np.testing.assert_allclose(found.moments[part].mean, np.nanmean(known, axis=0), rtol=1e-5)
        np.testing.assert_allclose(found.moments[part].m2, np.nanvar(known, axis=0) * found.moments[part].count, rtol=1e-4)
        np.testing.assert_array_equal(found.moments[part].maximum, np.nanmax(known, axis=0))
    assert RowSummary.from_report(*store(rows, tmp_path).to_report()).moments == {}


def test_a_machine_without_the_rows_says_so_and_forgets_them_when_asked_to(rows, tmp_path):
    cut = FoldSlice(Fold((0, 1), 2))
    assert find(tmp_path, cut) is None
    store(rows, tmp_path)
    store(rows, tmp_path)  # by another task
    assert find(tmp_path, cut) is find(tmp_path, cut)
    row_cache.delete(tmp_path.name, str(tmp_path))
    assert find(tmp_path, cut) is None
    assert [*Path(tmp_path).iterdir()] == []


def test_what_is_not_finite_is_refused_and_nothing_is_left(rows, tmp_path):
    rows["features"][40, 1] = np.nan
    with pytest.raises(DataError, match=r"Features \[1\] \(by position\) hold NaN"):
        store(rows, tmp_path)
    assert [*Path(tmp_path).iterdir()] == []
