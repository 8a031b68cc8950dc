"""Losses as functions of labels and outputs, against NumPy and Keras."""

import inspect

import keras
import numpy as np
import pytest

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.params.losses import LOSSES, as_text, loss_field, parts
from airflow_provider_distkeras.training.backends import losses

LABELS = np.array([[0.0], [1.0], [4.0], [2.5]], np.float32)
OUTPUTS = np.array([[0.5], [2.0], [1.5], [2.5]], np.float32)
CLASSES = np.array([0, 1, 2, 1], np.float32)
PROBABILITIES = np.array([[0.2, 0.3, 0.5], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.6, 0.2, 0.2]], np.float32)
ONE_HOT = np.eye(3, dtype=np.float32)[CLASSES.astype(int)]


def rows(loss, labels=LABELS, outputs=OUTPUTS, **options):
    function = losses.build(as_text(loss_field("loss", loss)), **options)
    return np.asarray(function(keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(outputs)))


def test_every_loss_of_keras_has_its_name_in_the_contract():
    classes = {name: each for name, each in vars(keras.losses).items() if inspect.isclass(each)}
    bases = {"Loss", *(name for name, each in classes.items() if each is keras.losses.Loss)}
    names = {name for name, each in vars(keras.losses).items() if callable(each)} - bases
    names -= {"get", "serialize", "deserialize"}
    required = {"categorical_generalized_cross_entropy": {"q": 0.5}}
    required["CategoricalGeneralizedCrossEntropy"] = required["categorical_generalized_cross_entropy"]
    accepted = {parts(loss_field("loss", {"name": name, **required.get(name, {})}))[0] for name in names - {"Circle", "circle"}}
    assert {*LOSSES} - accepted == {"quantile", "tweedie", "mse", "mae", "mape", "msle"}


def test_the_pinball_loss():
    error = (LABELS - OUTPUTS)[:, 0]
    np.testing.assert_allclose(rows({"name": "quantile", "q": 0.9}), np.where(error > 0, 0.9 * error, -0.1 * error), rtol=1e-6)


def test_the_tweedie_deviance_is_least_where_the_mean_is_the_label():
    y, mean, power = LABELS[1:, 0], OUTPUTS[1:, 0], 1.2
    deviance = mean ** (2 - power) / (2 - power) - y * mean ** (1 - power) / (1 - power)
    np.testing.assert_allclose(rows({"name": "tweedie", "power": power})[1:], deviance, rtol=1e-5)
    grid = np.linspace(0.5, 6, 56, dtype=np.float32)[:, None]
    assert grid[rows("tweedie", np.full_like(grid, 2.5), grid).argmin(), 0] == pytest.approx(2.5)
    assert np.isfinite(rows("tweedie", LABELS, np.zeros_like(OUTPUTS))).all()


@pytest.mark.parametrize("loss", ["categorical_focal_crossentropy", "categorical_hinge", "kl_divergence"])
def test_class_numbers_are_as_good_as_one_hot_labels(loss):
    expected = np.asarray(getattr(keras.losses, loss)(ONE_HOT, PROBABILITIES))
    np.testing.assert_allclose(rows(loss, CLASSES, PROBABILITIES, classes=3), expected, rtol=1e-6)
    np.testing.assert_allclose(rows(loss, ONE_HOT, PROBABILITIES), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ({"name": "huber", "delta": 0.7}, lambda: keras.losses.huber(LABELS, OUTPUTS, delta=0.7)),
        (
            {"name": "binary_focal_crossentropy", "gamma": 3.0},
            lambda: keras.losses.binary_focal_crossentropy(LABELS, OUTPUTS, gamma=3.0),
        ),
    ],
)
def test_arguments_reach_keras(loss, expected):
    np.testing.assert_allclose(rows(loss), np.asarray(expected()), rtol=1e-6)
    np.testing.assert_allclose(losses.keras_loss(as_text(loss)).call(LABELS, OUTPUTS), np.asarray(expected()), rtol=1e-6)


def test_labels_as_class_numbers_inside_a_loss():
    loss, expected = {"name": "categorical_generalized_cross_entropy", "q": 0.7}, (1 - PROBABILITIES[ONE_HOT > 0] ** 0.7) / 0.7
    np.testing.assert_allclose(rows(loss, CLASSES, PROBABILITIES, classes=3), expected, rtol=1e-5)
    np.testing.assert_allclose(rows(loss, ONE_HOT, PROBABILITIES), expected, rtol=1e-5)


def test_smoothed_labels_of_class_numbers():
    smoothed = np.asarray(keras.losses.categorical_crossentropy(ONE_HOT, PROBABILITIES, label_smoothing=0.3))
    loss = {"name": "categorical_crossentropy", "label_smoothing": 0.3}
    np.testing.assert_allclose(rows(loss, CLASSES, PROBABILITIES, classes=3), smoothed, rtol=1e-6)


def test_dice_is_of_every_row_alone():
    masks, outputs = np.array([[1, 0, 1], [0, 0, 1]], np.float32), np.array([[0.9, 0.2, 0.7], [0.5, 0.5, 0.5]], np.float32)
    dice = 1 - 2 * (masks * outputs).sum(axis=1) / (masks.sum(axis=1) + outputs.sum(axis=1))
    np.testing.assert_allclose(rows("dice", masks, outputs), dice, rtol=1e-5)


OWN = """
import keras
def weighted(y_true, y_pred, over=1.0):
    return over * keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)
class Weighted(keras.losses.Loss):
    def __init__(self, over=1.0):
        super().__init__()
        self.over = over
    def call(self, y_true, y_pred):
        return weighted(y_true, y_pred, self.over)
def make(over):
    return lambda y_true, y_pred: weighted(y_true, y_pred, over)
made = Weighted(3.0)
number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "ownlosses.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize(
    ("loss", "factor"),
    [
        ("ownlosses:weighted", 1.0),
        ({"name": "ownlosses:weighted", "over": 2.0}, 2.0),
        ("ownlosses:Weighted", 1.0),
        ({"name": "ownlosses:Weighted", "over": 2.0}, 2.0),
        ({"name": "ownlosses:make", "over": 2.0}, 2.0),
        ("ownlosses:made", 3.0),
    ],
)
def test_a_loss_of_one_s_own_is_a_function_a_loss_or_makes_one(own, loss, factor):
    np.testing.assert_allclose(rows(loss), factor * (LABELS - OUTPUTS)[:, 0] ** 2, rtol=1e-6)
    assert losses.keras_loss(as_text(loss)) is None


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("ownlosses:nothing", "loss: expected 'package.module:name', received 'ownlosses:nothing': .* no attribute 'nothing'"),
        ("nowhere:loss", r"No module named 'nowhere'\. The module must be importable .*py_files"),
        ("ownlosses:number", "gives a int, expected a function"),
        ("ownlosses:make", "cannot be made with the arguments {}"),
        ({"name": "ownlosses:made", "over": 2.0}, "it is a Weighted already and takes no arguments"),
    ],
)
def test_what_is_no_loss_is_refused(own, loss, message):
    with pytest.raises(SpecError, match=message):
        losses.build(as_text(loss))
