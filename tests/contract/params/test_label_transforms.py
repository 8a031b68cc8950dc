"""Which transforms labels take, by the loss and the network."""

import pytest

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.params.label_transforms import transforms_of
from airflow_provider_distkeras.contract.specs import TrainSpec

BASE = {"layer_dims": [None, 4, 1], "label_transform": "standardize"}


@pytest.mark.parametrize(
    ("transform", "losses", "linear", "scaled", "expected"),
    [
        (None, [{"name": "quantile", "q": 0.9}], [True], True, ["standardize"]),
        (None, [{"name": "tweedie", "power": 1.5}], [True], True, ["none"]),
        (None, ["mse"], [True], True, ["standardize"]),
        (None, ["mse"], [True], False, ["none"]),
        (None, ["mse"], [False], True, ["none"]),
        (None, ["poisson"], [True], True, ["none"]),
        (None, ["mine:loss"], [True], True, ["none"]),
        (None, ["binary_crossentropy"], [False], True, ["none"]),
        (None, ["mae", "categorical_crossentropy"], [True, False], True, ["standardize", "none"]),
        ("none", ["mse"], [True], True, ["none"]),
        ("log1p", ["mse", "categorical_crossentropy"], [True, False], False, ["log1p", "none"]),
        ("standardize", ["mine:loss"], [False], False, ["standardize"]),
    ],
)
def test_every_output_has_its_transform(transform, losses, linear, scaled, expected):
    tasks = ["multiclass" if "crossentropy" in str(loss) else "regression" for loss in losses]
    assert list(transforms_of(transform, losses, tasks, linear, scaled=scaled)) == expected


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({**BASE, "loss": "poisson"}, "label_transform: the loss 'poisson' depends on the labels' own zero"),
        ({**BASE, "loss": "msle", "label_transform": "log1p"}, "which 'log1p' moves"),
        ({**BASE, "loss": "binary_crossentropy"}, "'standardize' is for numbers, but 'binary_crossentropy' takes classes"),
        ({**BASE, "activations": ["relu", "softplus"]}, "the activation of the output is 'softplus'"),
        ({**BASE, "label_transform": "box-cox"}, "Unknown label transform 'box-cox'"),
    ],
)
def test_what_does_not_go_together_is_refused_when_the_spec_is_built(hyperparameters, message):
    evaluator = "binary" if "crossentropy" in str(hyperparameters) else "regression"
    with pytest.raises(SpecError, match=message):
        TrainSpec.build(dataset_path="file:///x", hyperparameters=hyperparameters, evaluator=evaluator)


def test_a_grid_may_vary_the_transform_and_is_checked_trial_by_trial():
    grid = {"label_transform": ["none", "log1p"], "loss": ["mse", "msle"]}
    with pytest.raises(SpecError, match="the loss 'msle'"):
        TrainSpec.build(dataset_path="file:///x", hyperparameters={"layer_dims": [None, 4, 1]}, param_grid=grid)
    grid["loss"] = ["mse", "mae"]
    spec = TrainSpec.build(dataset_path="file:///x", hyperparameters={"layer_dims": [None, 4, 1]}, param_grid=grid)
    assert {trial["label_transform"] for trial in spec.trials()} == {"none", "log1p"}
