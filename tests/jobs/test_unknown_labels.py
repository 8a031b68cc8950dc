"""Labels that are no class of the model: they count as wrong predictions, and are told."""

import pytest

from airflow_provider_distkeras.contract.specs import PromoteSpec

pytestmark = pytest.mark.spark


def test_labels_that_are_spelled_in_another_way_are_told(classes, scoring, caplog):
    done = scoring(classes, "a,b,kind\n9,0,sour\n9,0,sour.\n0,9,sweet.\n0,9,sweet.\n0,9,\n")
    assert done.result["metrics"]["accuracy"] == 0.25
    assert (done.details.unknown_labels, done.details.unknown_label_counts) == (3, {"sweet.": 2, "sour.": 1})
    said = "The label of 3 rows is no class of the model, so that they count as wrong predictions: 'sweet.' (2 rows), 'sour.' (1 rows)"
    assert f"{said}. Expected 'salty', 'sour', 'sweet'." in caplog.text


def test_numbers_in_place_of_classes_are_told(classes, scoring, caplog):
    done = scoring(classes, "a,b,kind\n9,0,1\n0,9,2\n")
    assert (done.result["metrics"]["accuracy"], done.details.unknown_labels) == (0, 2)


def test_class_numbers_that_the_network_does_not_have_are_told(save, network, scoring, caplog):
    model = save(network([[0.0, 9.0], [0.0, 0.0]], [1.0, 0.0], "categorical_crossentropy"), excluded_columns=["kind"])
    done = scoring(model, "a,b,label\n9,0,1\n0,9,2\n9,9,0.5\n0,0,0\n")
    assert (done.result["metrics"]["accuracy"], done.details.unknown_labels) == (0.5, 2)
    assert "Expected '0 to 1'" in caplog.text


def test_nothing_is_said_where_all_labels_are_classes_or_there_are_none(classes, regression, scoring, caplog):
    assert scoring(classes, "a,b,kind\n9,0,sour\n0,9,sweet\n").details.unknown_labels == 0
    assert scoring(regression, "a,b,label\n9,0,-5\n0,9,0.5\n").details.unknown_labels == 0
    assert "no class" not in caplog.text


def test_a_comparison_tells_them_too(run_job, classes, tmp_path):
    (tmp_path / "rows.csv").write_text("a,b,kind\n9,0,sour\n9,0,sour.\n0,9,sweet\n")
    spec = PromoteSpec.build(
        champion="x",
        period="2026-04",
        model_path=classes,
        input_path=f"{tmp_path}/rows.csv",
        evaluator="multiclass",
        metric="accuracy",
    )
    done = run_job(spec)
    assert done.result["metrics"]["challenger"]["accuracy"] == pytest.approx(2 / 3)
    assert done.details.unknown_labels == {"challenger": 1}
