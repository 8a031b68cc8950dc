"""Params of a fit: numbers per class."""

import pytest

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.params.fitting import FITTING
from airflow_provider_distkeras.contract.specs import TrainSpec


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("class_sampling", {0: 0.25, "1": 3}, {"0": 0.25, "1": 3.0}),
        ("class_sampling", {"1.0": 2.5}, {"1": 2.5}),
        ("class_sampling", '{"10": 2}', {"10": 2.0}),
        ("class_sampling", "over", "over"),
        ("class_sampling", "under", "under"),
        ("class_weight", {0: 0, 1.0: 5}, {"0": 0.0, "1": 5.0}),
        ("class_weight", "balanced", "balanced"),
    ],
)
def test_numbers_per_class_are_cast(name, value, expected):
    assert FITTING[name].cast(name, value) == expected


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("class_sampling", {"1": 0}, r"class_sampling\['1'\]: expected a number above 0, for no class may vanish.* Set a small share"),
        ("class_sampling", {"1": -1}, r"class_sampling\['1'\]: expected a number of at least 0, received -1"),
        ("class_sampling", {"yes": 1}, "class_sampling: expected class numbers 0, 1, ... as keys, received 'yes'"),
        ("class_sampling", "oversample", r"class_sampling: Unknown value 'oversample'.*over"),
        ("class_sampling", "balanced", "class_sampling: Unknown value 'balanced'.*over, under"),
        ("class_sampling", 3, "class_sampling: expected a dict, received 3"),
        ("class_weight", "over", "class_weight: Unknown value 'over'.*balanced"),
    ],
)  # fmt: skip
def test_other_values_are_refused(name, value, message):
    with pytest.raises(SpecError, match=message):
        FITTING[name].cast(name, value)


def test_a_train_job_takes_them_as_a_hyperparameter():
    spec = TrainSpec.build(dataset_path="unused", hyperparameters={"layer_dims": [None, 1], "class_sampling": {1: 2}})
    assert spec.hyperparameters["class_sampling"] == {"1": 2.0}
