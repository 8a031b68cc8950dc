"""The training report's figures and tables, from results made up."""

import html
import re
import subprocess
import sys

import numpy as np
import pytest

from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.hooks.spark_submit import zip_package
from airflow_provider_distkeras.ml.reporting import plots, report
from airflow_provider_distkeras.ml.reporting.formatting import format_value
from airflow_provider_distkeras.ml.tuning.search import SearchResult
from airflow_provider_distkeras.ml.tuning.trial import FoldResult, Trial
from airflow_provider_distkeras.training.summary import TrainingSummary
from tests.page_tags import HARMLESS, HOSTILE, tags


class Model:
    """What the report reads of a model."""

    summary = TrainingSummary(
        "ADAG", 40, 80, 2, {"loss": [1.0, 0.5]}, None, 2.0, 4, 8, 0.5, [3, 1],
        [{"worker": 0, "host": "h", "rows": 40, "epochs": [{"epoch": 0, "rows": 40, "seconds": 1.0, "loss": 1.0}]}],
    )  # fmt: skip


def result(cells, *, params=None, tested=None):
    return SearchResult(Model(), cells[0], cells, params or {"loss": "mse"}, True, tested)


def prepared(**details):
    return Manifest("preprocess", "0", {"rows": 40, "feature_columns": ["a"]}, {}, details)


def asked(dataset_path="/d", **said):
    return TrainSpec.build(dataset_path=dataset_path, num_folds=2, hyperparameters={"layer_dims": [None, 1]}, **said)


def rendered(found, spec=None, **details):
    return report.render(found, spec or asked(), prepared(**details), {"keras": "3.15"})


def cell(r2, sample=(), **params):
    outcome = lambda value: FoldResult({"r2": value, "rmse": 2 * value}, seconds=1.0, sample=list(sample))  # noqa: E731
    return Trial(params, {0: outcome(r2), 1: outcome(r2 + 0.1)})


def headings(page):
    return re.findall(r"<h2>(.*?)</h2>", page)


def test_it_needs_nothing_from_elsewhere_and_runs_nothing():
    page = rendered(result([cell(0.5)]))
    assert not re.search(r"https?://(?!www\.w3\.org)", page)
    assert "<script" not in page


def test_texts_are_escaped():
    def page(text):
        profile = {text: {"kind": text, "count": 1, "missing": 0, "min": text, "max": text, "top": [[text, 1]]}}
        failed = Trial({text: text}, {0: FoldResult(error=text)})
        found = result([cell(0.5, **{text: [text]}), failed], params={"loss": "mse", text: text}, tested=FoldResult(error=text))
        return report.render(found, asked(text), prepared(profile=profile), {text: text})

    assert tags(page(HOSTILE)) == tags(page(HARMLESS))
    assert html.escape(HOSTILE[:20]) in page(HOSTILE)


def test_the_templates_are_in_the_zip_that_travels_with_a_job(tmp_path):
    code = "from airflow_provider_distkeras.ml.reporting import report; print(report.__file__, report._environment().get_template('report.html.jinja'))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(zip_package(tmp_path))}, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.startswith(str(tmp_path)), done.stderr


def test_cells_are_ranked_and_those_that_failed_say_why():
    failed = Trial({"learning_rate": 9.0}, {0: FoldResult(error="DivergenceError: the loss is nan"), 1: FoldResult({"r2": 0.1})})
    cells = [cell(0.6, learning_rate=0.1), failed, cell(0.2, learning_rate=0.3), cell(0.4, learning_rate=0.2)]
    page = rendered(result(cells), asked(metrics=["rmse"]))
    table = re.search(r"<th>learning_rate.*?</table>", page, re.DOTALL).group()
    assert re.findall(r"<tr[^>]*>\s*<td>(.*?)</td>", table) == ["0.1", "0.2", "0.3", "9"]
    assert "0.6500 ± 0.0500" in table
    assert "1.3000 ± 0.1000" in table
    assert "DivergenceError: the loss is nan" in table
    assert "-, 0.1000" in table


def test_the_metric_of_rows_set_aside_stands_beside_the_folds_and_their_errors_are_drawn():
    tested = FoldResult({"r2": 0.3456}, sample=[[1.0, 1.1], [2.0, 1.9]])
    page = rendered(result([cell(0.5, sample=[[1.0, 3.0]])], tested=tested))
    assert "<dt>r2, on rows set aside</dt><dd>0.3456</dd>" in page
    assert "Predictions of the best trial for rows set aside" in headings(page)
    assert "2 of the rows." in page


def test_of_two_classes_there_is_a_roc_and_a_calibration_by_the_classes_names(monkeypatch):
    sample = [[1.0, 0.2, 0.8], [0.0, 0.9, 0.1], [1.0, 0.6, 0.4]]
    seen = {}
    kept = plots.confusion
    monkeypatch.setattr(plots, "confusion", lambda rows, names: seen.update(names=names) or kept(rows, names))
    label = {"kind": "category", "count": 3, "missing": 0, "top": [["yes", 2], ["no", 1]]}
    details = {"label_col": "busy", "profile": {"busy": label}}
    page = rendered(result([cell(0.5, sample=sample)], params={"loss": "categorical_crossentropy"}), **details)
    assert seen["names"] == ["no", "yes"]
    assert page.count('<figure class="half">') == 5
    assert page.count("<figure>") == 1


def test_no_sample_no_section():
    assert "Predictions of the best trial for rows held out of the folds" not in headings(rendered(result([cell(0.5)])))


def lines_of(axes):
    return [[float(y) for y in line.get_ydata()] for line in axes.lines]


def test_parallel_coordinates_lie_by_size_and_others_in_turn():
    ranked = [cell(0.9, learning_rate=0.1, optimizer="adam"), cell(0.5, learning_rate=0.001, optimizer="sgd")]
    axes, colors = plots.parallel_coordinates(ranked, "r2").axes
    assert colors.get_ylabel() == "r2"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["learning_rate", "optimizer"]
    other, best = lines_of(axes)[:2]
    assert best == pytest.approx([1.0, 0.0], abs=0.03)
    assert other == pytest.approx([0.0, 1.0], abs=0.03)
    assert plots.parallel_coordinates([cell(0.9, a=1), cell(0.5, a=2)], "r2") is None


@pytest.mark.parametrize("value", [[None, 8, 1], {"class": "Adam"}, True, None, "text"])
def test_values_of_any_kind_can_be_drawn(value):
    ranked = [cell(0.9, some=value, rate=0.1), cell(0.5, some=3, rate=0.2), cell(0.4, some=3, rate=0.3)]
    page = rendered(result(ranked))
    assert format_value(value) in html.unescape(page)


def test_confusion_counts():
    sample = np.array([[0, 0.9, 0.1], [0, 0.2, 0.8], [1, 0.3, 0.7]])
    (axes,) = plots.confusion(sample, ["a", "b"]).axes
    np.testing.assert_array_equal(axes.images[0].get_array(), [[1, 1], [0, 1]])


def test_roc_and_calibration_of_what_is_always_right():
    sample = np.array([[0, 0.95, 0.05], [1, 0.05, 0.95]] * 5)
    (roc,), (calibration,) = plots.roc(sample).axes, plots.calibration(sample).axes
    assert lines_of(roc)[1][:2] == [0.0, 1.0]
    assert lines_of(calibration)[1] == [0.0, 1.0]
