import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.training.dataset import Loader, Rows

SCHEMA = pa.schema(
    [
        ("features", pa.list_(pa.float32())),
        ("label", pa.list_(pa.float32())),
        ("weight", pa.float32()),
        ("validation", pa.bool_()),
    ]
)


def batch(features, labels, **others):
    columns = {"features": features, "label": [[label] for label in labels], **others}
    return pa.RecordBatch.from_pydict(columns, schema=pa.schema([SCHEMA.field(name) for name in columns]))


def numbered(count, width=3):
    features = np.arange(count * width, dtype=np.float32).reshape(count, width)
    return Rows(np.column_stack([features, np.arange(count), np.ones(count)]).astype(np.float32))


def seen(rows, batch_size, window, seed, commit_every=None):
    """The labels of one epoch in order, without the padding."""
    return [
        label
        for part in rows.windows(batch_size, window, seed, commit_every)
        for label in part.records[..., -2].ravel()[part.records[..., -1].ravel() > 0].tolist()
    ]


@pytest.mark.parametrize("count", [1, 4, 5, 12, 13, 100])
@pytest.mark.parametrize(("batch_size", "window"), [(4, 3), (32, 1), (1, 1)])
def test_an_epoch_holds_every_row_exactly_once_partial_batches_and_windows_included(count, batch_size, window):
    rows = numbered(count)
    assert sorted(seen(rows, batch_size, window, [7])) == list(range(count))
    parts = [(part.rows, part.steps, part.records.shape) for part in rows.windows(batch_size, window, [7])]
    assert sum(part[0] for part in parts) == count
    assert all(steps == -(-n // batch_size) for n, steps, _ in parts)
    assert {shape for _, _, shape in parts} == {(window, batch_size, 5)}


def test_the_counts_are_the_rows_of_each_step():
    (part,) = numbered(9).windows(4, 3, [0])
    assert part.counts.tolist() == [4, 4, 1]


@pytest.mark.parametrize("count", [1, 7, 24, 25, 100])
@pytest.mark.parametrize("every", [1, 2, 3, 7, None])
def test_commits_are_due_after_as_many_steps_as_asked_for_and_at_the_end(count, every):
    rows, steps, due = numbered(count), 0, []
    for part in rows.windows(4, 3, [1], every):
        steps += part.steps
        if part.commits:
            due.append(steps)
            steps = 0
    assert steps == 0
    assert len(due) == rows.commits_per_epoch(4, every)
    assert due[:-1] == [every] * (len(due) - 1)
    assert sorted(seen(rows, 4, 3, [1], every)) == list(range(count))


def test_a_row_keeps_its_own_label():
    for part in numbered(50).windows(4, 3, [1]):
        np.testing.assert_array_equal(part.records[..., 0], 3 * part.records[..., 3])


def test_epochs_are_shuffled_by_the_seed():
    rows = numbered(40)
    assert seen(rows, 4, 2, [1, 0, 0]) == seen(rows, 4, 2, [1, 0, 0])
    assert seen(rows, 4, 2, [1, 0, 0]) != seen(rows, 4, 2, [1, 0, 1])


def test_the_order_does_not_depend_on_how_spark_delivered_the_rows():
    rows = numbered(64)
    mixed = Rows(rows.records[np.random.default_rng(3).permutation(64)])
    assert seen(rows, 8, 2, [5]) == seen(mixed, 8, 2, [5])
    assert rows.digest == mixed.digest != numbered(63).digest


def test_batches_become_one_block():
    rows, validation = Loader().load([batch([[1, 2], [3, 4]], [0, 1]), batch([], []), batch([[5, 6]], [2])])
    np.testing.assert_array_equal(rows.records, np.array([[1, 2, 0, 1], [3, 4, 1, 1], [5, 6, 2, 1]], np.float32))
    assert rows.records.dtype == np.float32
    assert (len(rows), len(validation)) == (3, 0)


def test_weights_and_validation_rows_are_kept_apart():
    rows, validation = Loader().load([batch([[1], [2], [3]], [7, 8, 9], weight=[1.0, 0.5, 2.0], validation=[False, True, None])])
    assert rows.records.tolist() == [[1, 7, 1], [3, 9, 2]]
    assert validation.records.tolist() == [[2, 8, 0.5]]


def test_a_partition_may_be_empty():
    rows, _ = Loader().load([])
    assert len(rows) == 0
    assert list(rows.windows(4, 2, [0])) == []
    assert rows.commits_per_epoch(4, 3) == rows.commits_per_epoch(4, None) == 0


@pytest.mark.parametrize(
    ("features", "labels", "others", "message"),
    [
        ([[1, 2], [3]], [0, 1], {}, "featuresCol: rows of different lengths, 1 to 2 values"),
        ([[1, 2], [3], [4, 5, 6]], [0, 1, 2], {}, "featuresCol: rows of different lengths, 1 to 3 values"),
        ([[1, 2], None], [0, 1], {}, "featuresCol: 1 rows have none"),
        ([[1, 2], [3, float("nan")]], [0, 1], {}, r"Features \[1\] \(by position\) hold NaN or infinity"),
        ([[1, 2], [3, 4]], [0, None], {}, "labelCol: rows without a label"),
        ([[1, 2], [3, 4]], [0, float("inf")], {}, "Labels hold NaN or infinity"),
        ([[1, 2], [3, 4]], [0, 1], {"weight": [1, float("nan")]}, "weightCol: weights hold NaN or infinity"),
        ([[1, 2], [3, 4]], [0, 1], {"weight": [1, -2]}, "weightCol: expected weights of at least 0, received -2"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_refused(features, labels, others, message):
    with pytest.raises(DataError, match=message):
        Loader().load([batch(features, labels, **others)])


def test_batches_of_different_widths_are_refused():
    with pytest.raises(DataError, match="rows of different lengths"):
        Loader().load([batch([[1, 2]], [0]), batch([[1, 2, 3]], [0])])
