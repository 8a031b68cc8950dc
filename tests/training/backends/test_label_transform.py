"""Transforms of labels, against NumPy."""

import numpy as np
import pytest

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.training.backends.label_transform import LabelTransform

NO_ROWS = np.empty((0, 1), np.float32)


def fitted(labels, kind="standardize", weights=None, others=NO_ROWS):
    labels = np.array(labels, np.float32).reshape(len(labels), -1)
    weights = np.ones(len(labels)) if weights is None else weights
    return LabelTransform((kind,), (labels.shape[1],)).fitted(labels, np.array(weights, np.float32), others)


def applied(transform, labels):
    labels = np.array(labels, np.float32).reshape(len(labels), -1)
    records = np.column_stack([np.full((len(labels), 2), 7), labels, np.full(len(labels), 3)]).astype(np.float32)
    transform.apply(records, 2)
    assert (records[:, :2] == 7).all()
    assert (records[:, -1] == 3).all()
    return records[:, 2:-1]


@pytest.mark.parametrize("kind", ["standardize", "log1p"])
def test_training_labels_get_mean_0_and_deviation_1_and_come_back(kind):
    prices = np.random.default_rng(0).lognormal(13, 0.5, 500)
    transform = fitted(prices, kind)
    trained = applied(transform, prices)
    assert trained.mean() == pytest.approx(0, abs=1e-5)
    assert trained.std() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(transform.undo([trained])[0][:, 0], prices, rtol=2e-6)


def test_every_label_has_its_own_statistics_and_classes_stay_as_they_are():
    labels = np.array([[1, 100, 2], [3, 300, 0]], np.float32)
    transform = LabelTransform(("standardize", "none"), (2, 1)).fitted(labels, np.ones(2, np.float32), labels[:0])
    np.testing.assert_allclose(applied(transform, labels), [[-1, -1, 2], [1, 1, 0]])
    classes = np.array([[0.1, 0.2, 0.7]], np.float32)
    numbers, probabilities = transform.undo([np.array([[0.5, 2]], np.float32), classes])
    np.testing.assert_allclose(numbers, [[2.5, 400]])
    assert probabilities is classes


def test_rows_count_by_their_weights():
    transform = fitted([0, 10, 1e6], weights=[1, 3, 0])
    assert transform.mean == (7.5,)
    assert transform.std == pytest.approx((np.std([0, 10, 10, 10]),))


@pytest.mark.parametrize("labels", [[123.456] * 7, [5.0]])
def test_equal_labels_have_a_deviation_of_1(labels):
    assert fitted(labels).std == (1.0,)


def test_labels_without_a_logarithm_are_counted_in_validation_rows_too():
    with pytest.raises(DataError, match=r"log1p needs labels above -1, received 2 others, the least of them -3"):
        fitted([5, -1, 0], "log1p", others=np.array([[-3.0]], np.float32))


def test_labels_that_are_no_numbers_are_left_to_training_and_its_error():
    assert fitted([1.0, np.nan]).mean == (0.0,)


def test_it_survives_plain_values():
    transform = fitted([1, 2, 4])
    assert LabelTransform.from_dict(transform.to_dict()) == transform
