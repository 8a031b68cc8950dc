import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.training.dataset import Rows

SCHEMA = pa.schema([("features", pa.list_(pa.float32())), ("label", pa.float32())])


def batch(features, labels):
    return pa.RecordBatch.from_pydict({"features": features, "label": labels}, schema=SCHEMA)


def numbered(count, width=3):
    features = np.arange(count * width, dtype=np.float32).reshape(count, width)
    return Rows(features, np.arange(count, dtype=np.float32))


def seen(rows, batch_size, window, seed):
    """The labels of one epoch in order, without the padding."""
    return [
        label for part in rows.windows(batch_size, window, seed) for label in part.labels.ravel()[part.mask.ravel() > 0].tolist()
    ]


@pytest.mark.parametrize("count", [1, 4, 5, 12, 13, 100])
@pytest.mark.parametrize(("batch_size", "window"), [(4, 3), (32, 1), (1, 1)])
def test_an_epoch_holds_every_row_exactly_once_partial_batches_and_windows_included(count, batch_size, window):
    rows = numbered(count)
    assert sorted(seen(rows, batch_size, window, [7])) == list(range(count))
    parts = [(part.rows, part.steps, part.features.shape) for part in rows.windows(batch_size, window, [7])]
    assert sum(part[0] for part in parts) == count
    assert all(steps == -(-n // batch_size) for n, steps, _ in parts)
    assert {shape for _, _, shape in parts} == {(window, batch_size, 3)}


def test_a_row_keeps_its_own_label():
    for part in numbered(50).windows(4, 3, [1]):
        np.testing.assert_array_equal(part.features[..., 0], 3 * part.labels)


def test_epochs_are_shuffled_by_the_seed():
    rows = numbered(40)
    assert seen(rows, 4, 2, [1, 0, 0]) == seen(rows, 4, 2, [1, 0, 0])
    assert seen(rows, 4, 2, [1, 0, 0]) != seen(rows, 4, 2, [1, 0, 1])


def test_the_order_does_not_depend_on_how_spark_delivered_the_rows():
    rows = numbered(64)
    mixed = np.random.default_rng(3).permutation(64)
    assert seen(rows, 8, 2, [5]) == seen(Rows(rows.features[mixed], rows.labels[mixed]), 8, 2, [5])


def test_batches_become_one_block():
    rows = Rows.load([batch([[1, 2], [3, 4]], [0, 1]), batch([], []), batch([[5, 6]], [2])])
    np.testing.assert_array_equal(rows.features, np.array([[1, 2], [3, 4], [5, 6]], np.float32))
    assert rows.features.dtype == np.float32
    assert len(rows) == 3


def test_a_partition_may_be_empty():
    assert len(Rows.load([])) == 0
    assert list(Rows.load([]).windows(4, 2, [0])) == []


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        ([[1, 2], [3]], [0, 1], "Rows of different lengths: 3 features in 2 rows"),
        ([[1, 2], None], [0, 1], "1 rows have no features"),
        ([[1, 2], [3, float("nan")]], [0, 1], r"Features \[1\] \(by position\) hold NaN or infinity"),
        ([[1, 2], [3, 4]], [0, None], "Rows without a label"),
        ([[1, 2], [3, 4]], [0, float("inf")], "Labels hold NaN or infinity"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_refused(features, labels, message):
    with pytest.raises(DataError, match=message):
        Rows.load([batch(features, labels)])
