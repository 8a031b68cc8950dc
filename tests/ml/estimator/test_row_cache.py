"""Rows that a machine stores, and the rows of single fits, against plain NumPy."""

import contextlib
import os
import signal
import subprocess
import sys
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
from airflow_provider_distkeras.ml.estimator.sample_weights import ClassSampling
from tests.ml.prepared import lists

ROWS, FEATURES = 90, 3


SLICE, OTHER_SLICE = FoldSlice(Fold((0, 1), 2)), FoldSlice(Fold((0, 1), 3))
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process cannot open another one's files")


@pytest.fixture
def rows():
    return some_rows()


def some_rows():
    """Features, class labels, weights, parts and filled-in features of rows in four parts, validation and test."""
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


def store(rows, folder, *, with_moments=False, cache_bytes=1 << 30, **options):
    return row_cache.store(folder.name, str(folder), batches(rows, **options), cache_bytes, with_moments=with_moments)


def load(folder, fold_slice):
    return row_cache.load(folder.name, fold_slice, 1, str(folder))


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
def test_a_slice_has_the_rows_of_its_fold_by_the_fold_s_statistics(rows, tmp_path, monkeypatch, mapping, cache_bytes):
    monkeypatch.setattr(row_cache, "_BLOCK_ROWS", 7)
    store(rows, tmp_path, cache_bytes=cache_bytes)
    loaded = load(tmp_path, FoldSlice(Fold((0, 2, 3), 1), mapping))
    part = rows["part"]
    for name, mask in {"training": np.isin(part, [0, 2, 3]), "validation": part == VALIDATION, "held_out": part == 1}.items():
        np.testing.assert_allclose(in_order(getattr(loaded, name).records), expected(rows, mask, mapping), rtol=1e-6)


def test_without_filled_in_features_only_scale_and_offset_count(rows, tmp_path):
    store(rows, tmp_path, with_filled=False)
    loaded = load(tmp_path, FoldSlice(Fold((0,), TEST), MAPPING))
    nothing = replace(MAPPING, fill=np.full(FEATURES, np.nan))
    np.testing.assert_allclose(in_order(loaded.held_out.records), expected(rows, rows["part"] == TEST, nothing), rtol=1e-6)


@pytest.mark.parametrize("class_weights", ["balanced", {1.0: 5.0}])
def test_classes_are_weighed_in_training_rows_only(rows, tmp_path, class_weights):
    store(rows, tmp_path)
    loaded = load(tmp_path, FoldSlice(Fold((0, 1), 2), None, class_weights))
    trained, positive = np.isin(rows["part"], [0, 1]), rows["label"] == 1
    count, positives = trained.sum(), (trained & positive).sum()
    by_class = (
        {0.0: count / 2 / (count - positives), 1.0: count / 2 / positives}
        if class_weights == "balanced"
        else {0.0: 1.0, 1.0: 5.0}
    )
    weights = np.where(positive, by_class[1.0], by_class[0.0])
    np.testing.assert_allclose(in_order(loaded.training.records), expected(rows, trained, None, weights), rtol=1e-6)
    np.testing.assert_array_equal(in_order(loaded.held_out.records), expected(rows, rows["part"] == 2))
    np.testing.assert_array_equal(in_order(loaded.validation.records), expected(rows, rows["part"] == VALIDATION))


@pytest.mark.parametrize("class_weights", [None, "balanced"])
@pytest.mark.parametrize("mapping", [None, MAPPING])
@pytest.mark.parametrize("times", ["over", "under", {1.0: 2.5}, {0.0: 0.3, 1.0: 3.0}, {0.0: 1.7}, {1.0: 0.01}])
def test_classes_are_sampled_in_training_rows_only_and_before_they_are_weighed(
    rows, tmp_path, monkeypatch, times, mapping, class_weights
):
    monkeypatch.setattr(row_cache, "_BLOCK_ROWS", 7)
    store(rows, tmp_path)
    trained = np.isin(rows["part"], [0, 1])
    before = {label: int((rows["label"][trained] == label).sum()) for label in (0.0, 1.0)}
    after = ClassSampling(times, 3).targets(before)
    loaded = load(tmp_path, FoldSlice(Fold((0, 1), 2), mapping, class_weights, ClassSampling(times, 3)))

    by_class = {label: sum(after.values()) / 2 / after[label] if class_weights else 1.0 for label in after}
    weights = np.where(rows["label"] == 1, by_class[1.0], by_class[0.0])
    origin, labels = expected(rows, trained, mapping, weights), loaded.training.records[:, -2]
    copies = (np.abs(loaded.training.records[:, None] - origin).max(axis=2) < 1e-5).sum(axis=0)
    assert copies.sum() == len(labels)  # every row is one of the training rows
    for label, count in after.items():
        assert (labels == label).sum() == count
        each = copies[origin[:, -2] == label]
        assert {*each} <= {count // before[label], count // before[label] + 1}
    np.testing.assert_array_equal(in_order(loaded.held_out.records), expected(rows, rows["part"] == 2, mapping))
    np.testing.assert_array_equal(in_order(loaded.validation.records), expected(rows, rows["part"] == VALIDATION, mapping))


def test_a_sample_of_classes_depends_on_the_rows_and_the_seed_not_on_their_order(rows, tmp_path):
    def sample(name, seed, order):
        folder = tmp_path / name
        folder.mkdir()
        store({column: values[order] for column, values in rows.items()}, folder)
        return in_order(load(folder, FoldSlice(Fold((0, 1), 2), None, None, ClassSampling("under", seed))).training.records)

    once, shuffled = np.arange(ROWS), np.random.default_rng(1).permutation(ROWS)
    np.testing.assert_array_equal(sample("one", 3, once), sample("other", 3, shuffled))
    assert not np.array_equal(sample("same", -3, once), sample("again", 4, once))


def test_different_slices_of_the_same_rows_have_different_names():
    slices = [
        FoldSlice(Fold((0, 1), 2)),
        FoldSlice(Fold((0, 2), 1)),
        FoldSlice(Fold((0, 1), 2), None, "balanced"),
        FoldSlice(Fold((0, 1), 2), None, {1.0: 2.0}),
        *(
            FoldSlice(Fold((0, 1), 2), None, None, ClassSampling(*sample))
            for sample in (("over", 0), ("over", 1), ({1.0: 2.0}, 0))
        ),
    ]
    assert len({each.name for each in slices}) == 7
    assert FoldSlice(Fold((0, 1), 2)).name == slices[0].name


def test_the_summary_has_the_rows_and_moments_of_each_part(rows, tmp_path):
    summary = store(rows, tmp_path, with_moments=True)
    read = RowSummary.from_report(*summary.to_report())
    assert read.rows == dict.fromkeys((0, 1, 2, 3, VALIDATION, TEST), 15)
    for part in (0, 1, 2, 3):
        mine = rows["part"] == part
        present = np.where(rows["filled"][mine], np.nan, rows["features"][mine])
        np.testing.assert_array_equal(read.moments[part].count, (~np.isnan(present)).sum(axis=0))
        np.testing.assert_allclose(read.moments[part].mean, np.nanmean(present, axis=0), rtol=1e-5)
        np.testing.assert_allclose(read.moments[part].m2, np.nanvar(present, axis=0) * read.moments[part].count, rtol=1e-4)
        np.testing.assert_array_equal(read.moments[part].maximum, np.nanmax(present, axis=0))
    assert RowSummary.from_report(*store(rows, tmp_path).to_report()).moments == {}


def test_rows_are_missing_before_they_are_stored_and_after_they_are_deleted(rows, tmp_path):
    fold_slice = FoldSlice(Fold((0, 1), 2))
    assert load(tmp_path, fold_slice) is None
    store(rows, tmp_path)
    store(rows, tmp_path)  # by another task
    assert load(tmp_path, fold_slice) is load(tmp_path, fold_slice)
    row_cache.delete(tmp_path.name, str(tmp_path))
    assert load(tmp_path, fold_slice) is None
    assert [*Path(tmp_path).iterdir()] == []


def test_features_that_are_not_finite_are_refused_and_no_file_is_left(rows, tmp_path):
    rows["features"][40, 1] = np.nan
    with pytest.raises(DataError, match=r"Features \[1\] \(by position\) hold NaN"):
        store(rows, tmp_path)
    assert [*Path(tmp_path).iterdir()] == []


OTHER_PROCESS = """
import sys, time
from tests.ml.estimator import test_row_cache as tests
from pathlib import Path
folder = Path(sys.argv[1])
tests.store(tests.some_rows(), folder, cache_bytes=int(sys.argv[2]))
tests.load(folder, tests.SLICE)
print("stored", flush=True)
time.sleep(600)
"""


@pytest.fixture
def other_process(tmp_path):
    """A process that stores rows, and one slice of them; called again, another one."""
    with contextlib.ExitStack() as started:

        def start(off_disk="false", cache_bytes=1 << 30):
            process = started.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", OTHER_PROCESS, str(tmp_path), str(cache_bytes)],
                    stdout=subprocess.PIPE, env={**os.environ, "DISTKERAS_ROWS_OFF_DISK": off_disk},
                )
            )  # fmt: skip
            started.callback(process.kill)
            assert process.stdout.readline() == b"stored\n"
            return process

        yield start


def named_bytes(folder):
    """The bytes in files that have a name."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


@linux
def test_processes_of_a_machine_share_rows_that_are_gone_when_they_are_killed(rows, tmp_path, other_process):
    process = other_process()
    loaded = load(tmp_path, OTHER_SLICE)  # made here, out of the other process's rows
    np.testing.assert_array_equal(in_order(loaded.held_out.records), expected(rows, rows["part"] == 3))
    assert load(tmp_path, SLICE) is not None
    assert named_bytes(tmp_path) == 0

    process.send_signal(signal.SIGKILL)
    process.wait()
    assert named_bytes(tmp_path) == 0
    assert load(tmp_path, FoldSlice(Fold((1,), 2))) is None
    np.testing.assert_array_equal(in_order(loaded.held_out.records), expected(rows, rows["part"] == 3))
    store(rows, tmp_path)
    assert load(tmp_path, FoldSlice(Fold((1,), 2))) is not None


@linux
@pytest.mark.parametrize("cache_bytes", [1 << 30, 600])
def test_rows_are_in_no_file_of_the_disk_where_spark_encrypts_that(rows, tmp_path, other_process, cache_bytes):
    process = other_process("true", cache_bytes)
    files = [os.readlink(file) for file in Path(f"/proc/{process.pid}/fd").iterdir()]
    assert len([file for file in files if file.startswith("/memfd:distkeras")]) >= 5
    opened = "\n".join(files) + Path(f"/proc/{process.pid}/maps").read_text()
    assert str(tmp_path) not in opened
    assert named_bytes(tmp_path) == 0
    loaded = load(tmp_path, SLICE)
    np.testing.assert_array_equal(in_order(loaded.held_out.records), expected(rows, rows["part"] == 2))


@linux
def test_a_file_of_another_process_with_the_same_id_is_not_taken_for_the_rows(rows, tmp_path, other_process):
    other_process()
    (tmp_path / "elsewhere").mkdir()
    store(rows, tmp_path / "elsewhere")
    for name in ("rows.npy", "filled.npy"):
        link, other = (folder / f"distkeras-rows-{folder.name}" / name for folder in (tmp_path, tmp_path / "elsewhere"))
        link.unlink()
        link.symlink_to(other.readlink())
    assert load(tmp_path, OTHER_SLICE) is None
