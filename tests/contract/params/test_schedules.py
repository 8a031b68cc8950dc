"""Schedules of the learning rate, as users write them."""

import pytest

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.params.network import HYPERPARAMETERS
from airflow_provider_distkeras.contract.params.schedules import check_rates

OWN = {"module": "mine", "class_name": "Mine", "registered_name": "mine>Mine", "config": {"top": 0.1}}


def cast(value, name="lr_schedule"):
    return HYPERPARAMETERS[name].cast(name, value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("warmup_cosine", "warmup_cosine"),
        ({"name": "cosine", "alpha": 0.1}, {"name": "cosine", "alpha": 0.1}),
        ({"name": "CosineDecay", "decay_steps": 100}, {"name": "CosineDecay", "decay_steps": 100.0}),
        ('{"name": "CosineDecay", "decay_steps": 100}', {"name": "CosineDecay", "decay_steps": 100.0}),
        (OWN, OWN),
    ],
)
def test_a_schedule_keeps_the_form_that_it_is_given_in(value, expected):
    assert cast(value) == expected


def test_a_serialized_schedule_of_keras_becomes_its_name_and_its_arguments():
    config = {"initial_learning_rate": 0.1, "decay_steps": 9, "alpha": 0.0, "name": "CosineDecay", "warmup_target": None}
    serialized = {"module": "keras.optimizers.schedules", "class_name": "CosineDecay", "registered_name": None, "config": config}
    assert cast(serialized) == {"name": "CosineDecay", "initial_learning_rate": 0.1, "decay_steps": 9.0, "alpha": 0.0}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("cosin", "lr_schedule: Unknown schedule 'cosin'. Did you mean 'cosine'?"),
        ("CosineDecay", "lr_schedule: CosineDecay needs arguments, such as {'name': 'CosineDecay', ...}"),
        ({"name": "CosineDecay"}, "lr_schedule['decay_steps']: expected a number above 0, received None"),
        ({"name": "cosine", "steps": 5}, "Unknown argument in lr_schedule 'steps'"),
        ({"name": "warmup", "warmup_share": 1.5}, "lr_schedule['warmup_share']: expected a number of at least 0 and below 1"),
        ({"name": "PiecewiseConstantDecay", "boundaries": [5], "values": [1, 2, 3]}, "expected one value more than boundaries"),
        ({"decay_steps": 5}, "lr_schedule['name']: expected a text that is not empty, received None"),
    ],
)
def test_a_wrong_schedule_is_refused_with_what_is_wrong(value, message):
    with pytest.raises(SpecError) as error:
        cast(value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"lr_schedule": "cosine", "lr_decay": 0.1}, "lr_decay: lr_schedule decides how the learning rate falls"),
        ({"lr_schedule": OWN, "learning_rate": 0.1}, "learning_rate: lr_schedule has rates of its own"),
        (
            {"lr_schedule": {"name": "CosineDecay", "initial_learning_rate": 0.1, "decay_steps": 9}, "learning_rate": 0.1},
            "learning_rate: lr_schedule has rates of its own",
        ),
    ],
)
def test_two_params_that_decide_the_rate_are_refused(hyperparameters, message):
    with pytest.raises(SpecError) as error:
        check_rates(hyperparameters)
    assert message in str(error.value)


@pytest.mark.parametrize("schedule", ["cosine", {"name": "ExponentialDecay", "decay_steps": 9, "decay_rate": 0.5}, None])
def test_a_schedule_without_rates_of_its_own_goes_with_a_learning_rate(schedule):
    check_rates({"lr_schedule": schedule, "learning_rate": 0.1, "lr_decay": 0.0})


def test_a_reduction_on_a_plateau_takes_any_of_its_arguments():
    assert cast({"patience": 3.0}, "reduce_on_plateau") == {"patience": 3}
    with pytest.raises(SpecError, match=r"reduce_on_plateau\['factor'\]: expected a number above 0 and below 1, received 1"):
        cast({"factor": 1}, "reduce_on_plateau")
    with pytest.raises(SpecError, match=r"Unknown argument in reduce_on_plateau 'min_rate'\. Did you mean 'min_lr'"):
        cast({"min_rate": 0}, "reduce_on_plateau")
