"""Metrics, as a DAG file names them."""

import pytest

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.specs import PromoteSpec, TrainSpec

OWN = {"metric": "my.metrics:cost"}


def train_spec(**fields):
    loss = "binary_crossentropy" if fields.get("evaluator") == "binary" else "mse"
    return TrainSpec.build(dataset_path="/data", hyperparameters={"layer_dims": [None, 1], "loss": loss}, **fields)


@pytest.mark.parametrize(
    ("fields", "larger"),
    [
        ({}, True),
        ({"metric": "wape"}, False),
        ({"evaluator": "binary", "metric": "precisionAtRecall:0.8"}, True),
        ({"evaluator": "binary", "metric": "logLoss"}, False),
        ({**OWN, "metric_direction": "min"}, False),
        ({**OWN, "metric_direction": "max", "metrics": ["r2", "my.metrics:other"]}, True),
    ],
)
def test_which_value_is_better(fields, larger):
    assert train_spec(**fields).larger_is_better is larger


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (OWN, "metric_direction: the metric 'my.metrics:cost' is your own, so nothing says which value is better; set"),
        ({"metric": "r2", "metric_direction": "max"}, "metric_direction: it is known of r2; leave metric_direction out."),
        ({**OWN, "metric_direction": "least"}, "metric_direction: Unknown direction 'least'."),
        (
            {"evaluator": "binary", "metric": "precisionAtRecall"},
            "such as 'precisionAtRecall:0.8', received 'precisionAtRecall'.",
        ),
        ({"evaluator": "binary", "metric": "precisionAtRecall:80"}, "a share above 0 and up to 1"),
        ({"metric": "r2:0.5"}, "metric: r2 takes no argument, received 'r2:0.5'."),
        ({"metrics": ["f1"]}, "Unknown metric of the regression evaluator 'f1'."),
    ],
)
def test_a_metric_that_does_not_say_enough_is_refused(fields, message):
    with pytest.raises(SpecError) as error:
        train_spec(**fields)
    assert message in str(error.value)


def test_an_evaluator_that_measures_nothing_need_not_fit():
    hyperparameters = {"layer_dims": [None, 3], "loss": "dice"}
    spec = TrainSpec.build(dataset_path="/data", hyperparameters=hyperparameters, **OWN, metric_direction="min")
    assert not spec.uses_evaluator


def test_a_direction_leaves_digests_as_they_were_until_it_is_set():
    fields = {"champion": "c", "model_path": "/m", "period": "1", "input_path": "/x.csv", **OWN}
    least, greatest = (PromoteSpec.build(**fields, metric_direction=direction) for direction in ("min", "max"))
    assert least.sha256 != greatest.sha256
    assert "metric_direction" in TrainSpec.added_fields
    assert {"escape", "header", "metric_direction"} <= {*PromoteSpec.added_fields}
    assert least.decide(1.0, 2.0, larger_is_better=least.larger_is_better)[0]
    assert not greatest.decide(1.0, 2.0, larger_is_better=greatest.larger_is_better)[0]
