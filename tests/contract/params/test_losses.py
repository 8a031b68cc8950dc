"""Losses and tasks, as a DAG file names them."""

import pytest

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.params.losses import as_text, parts, task_of
from airflow_provider_distkeras.contract.params.network import HYPERPARAMETERS, check_network
from airflow_provider_distkeras.contract.params.objectives import check_evaluator


def cast(value):
    return HYPERPARAMETERS["loss"].cast("loss", value)


@pytest.mark.parametrize(
    ("value", "loss"),
    [
        ("mse", "mse"),
        ("MeanSquaredError", "mean_squared_error"),
        ("BCE", "binary_crossentropy"),
        ("KLDivergence", "kl_divergence"),
        ({"name": "mae"}, "mae"),
        ({"name": "huber", "delta": 2}, {"name": "huber", "delta": 2.0}),
        ('{"name": "quantile", "q": 0.9}', {"name": "quantile", "q": 0.9}),
        ("my.losses:asymmetric", "my.losses:asymmetric"),
        ({"name": "my.losses:asymmetric", "over": [1, 2]}, {"name": "my.losses:asymmetric", "over": [1, 2]}),
        (["mse", {"name": "tweedie", "power": 1.2}], ["mse", {"name": "tweedie", "power": 1.2}]),
    ],
)
def test_a_loss_is_a_name_or_a_dict_with_its_arguments(value, loss):
    assert cast(value) == cast(cast(value)) == loss
    for one in loss if isinstance(loss, list) else [loss]:
        assert parts(as_text(one)) == parts(one)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("msq", "loss: Unknown loss 'msq'. Did you mean 'mse'?"),
        ("my.losses", "A loss of your own is 'package.module:name'."),
        ("quantile", """the loss 'quantile' needs q, such as {"name": "quantile", "q": 0.9}; received 'quantile'."""),
        ({"name": "quantile", "q": 1.0}, "loss['q']: expected a number above 0 and below 1, received 1.0."),
        ({"name": "tweedie", "power": 2}, "loss['power']: expected a number above 1 and below 2, received 2."),
        ({"name": "huber", "detla": 1}, "Unknown argument of the loss huber 'detla'. Did you mean 'delta'?"),
        ({"name": "mse", "q": 0.5}, "Unknown argument of the loss mse 'q'."),
        ({"q": 0.5}, "loss['name']: expected a text that is not empty, received None"),
        ("Circle", "the loss 'circle' compares the rows of a batch"),
    ],
)
def test_a_wrong_loss_is_refused_without_keras(value, message):
    with pytest.raises(SpecError) as error:
        cast(value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("loss", "task", "labels", "expected"),
    [
        ("mse", None, 1, "regression"),
        ("binary_crossentropy", None, 1, "binary"),
        ("binary_crossentropy", None, 3, "multilabel"),
        ("binary_focal_crossentropy", "multilabel", 1, "multilabel"),
        ({"name": "categorical_crossentropy", "label_smoothing": 0.1}, None, 1, "multiclass"),
        ("m:f", "binary", 1, "binary"),
    ],
)
def test_the_task_follows_from_the_loss_unless_it_is_said(loss, task, labels, expected):
    assert task_of(loss, task, labels) == expected


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"loss": "m:f"}, "task: the loss 'm:f' is your own, so nothing says what the network predicts; set task to one of"),
        ({"loss": "mse", "task": "binary"}, "task: the loss 'mse' is for regression, received 'binary'."),
        ({"loss": "m:f", "task": "multiclass"}, "m:f needs an output per class, the network has 1"),
        ({"layer_dims": [None, 3], "loss": "binary_crossentropy"}, "for several labels set task='multilabel'."),
        ({"layer_dims": None, "network": "m:n", "loss": ["mse", "m:f"]}, "task: the loss 'm:f' is your own"),
        ({"layer_dims": None, "network": "m:n", "loss": ["mse", "m:f"], "task": ["regression"]}, "task: expected one, or 2"),
    ],
)
def test_a_task_is_needed_for_a_loss_of_one_s_own_and_contradicts_no_other(hyperparameters, message):
    with pytest.raises(SpecError) as error:
        check_network({"layer_dims": [None, 4, 1], **hyperparameters})
    assert message in str(error.value)


def test_networks_that_fit_their_tasks():
    check_network({"layer_dims": [None, 3], "loss": "binary_crossentropy", "task": "multilabel"})
    check_network({"layer_dims": [None, 2], "loss": "m:mixture", "task": "regression"})
    check_network({"network": "m:n", "loss": ["mse", "m:f"], "task": [None, "binary"]})
    with pytest.raises(SpecError, match="A row has 1 labels, the network 3 outputs"):
        check_network({"layer_dims": [None, 3], "loss": "binary_crossentropy", "task": "multilabel"}, labels=1)
    with pytest.raises(SpecError, match="'binary' is for one label, a row has 3; set task='multilabel'"):
        check_network({"layer_dims": [None, 3], "loss": "binary_crossentropy", "task": "binary"}, labels=3)


@pytest.mark.parametrize(
    ("evaluator", "hyperparameters", "message"),
    [
        ("regression", {"loss": "m:f", "task": "binary"}, "the loss 'm:f' needs 'binary' or 'multiclass', received 'regression'"),
        ("binary", {"loss": "tweedie"}, "the loss 'tweedie' needs 'regression', received 'binary'"),
        ("multiclass", {"loss": "dice"}, "the loss 'dice' needs 'binary', received 'multiclass'"),
        ("binary", {"loss": ["mse", "mae"]}, "the loss 'mse', 'mae' needs 'regression', received 'binary'"),
        (
            "regression",
            {"loss": ["mse", "binary_crossentropy"]},
            r"judges outputs of different kinds together \(regression, binary\), received 'regression'. Set metric to one of your own",
        ),
    ],
)
def test_an_evaluator_fits_the_task(evaluator, hyperparameters, message):
    with pytest.raises(SpecError, match=message):
        check_evaluator(evaluator, hyperparameters)


def test_several_labels_of_one_kind_have_an_evaluator():
    check_evaluator("regression", {"loss": ["mse", "mae"]})
    check_evaluator("binary", {"loss": ["binary_crossentropy", "hinge"]})
    check_evaluator("binary", {"layer_dims": [None, 5], "loss": "binary_crossentropy", "task": "multilabel"})
