"""The training report's figures and tables, from made-up results."""

import base64
import html
import re
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.contract.specs.preprocess import PreprocessDetails
from airflow_provider_distkeras.hooks.package_archive import zip_package
from airflow_provider_distkeras.ml.reporting import plots, report
from airflow_provider_distkeras.ml.reporting.formatting import format_value
from airflow_provider_distkeras.ml.tuning.trial import FoldResult, Trial
from tests.ml.reporting.results import Model, make_result, make_trial
from tests.page_tags import HARMLESS, HOSTILE, tags


def make_manifest(**details):
    return Manifest("preprocess", "0", {"rows": 40, "feature_columns": ["a"]}, {}, PreprocessDetails(**details))


def make_spec(dataset_path="/d", **fields):
    return TrainSpec.build(dataset_path=dataset_path, num_folds=2, hyperparameters={"layer_dims": [None, 1]}, **fields)


def render(result, spec=None, **details):
    return report.render(result, spec or make_spec(), make_manifest(**details), {"keras": "3.15"})


def headings(page):
    return re.findall(r"<h2>(.*?)</h2>", page)


def test_it_needs_nothing_from_elsewhere_and_runs_nothing():
    page = render(make_result([make_trial(0.5)]))
    assert not re.search(r"https?://(?!www\.w3\.org)", page)
    assert "<script" not in page


def test_texts_are_escaped():
    def page(text):
        profile = {text: {"kind": text, "count": 1, "missing": 0, "min": text, "max": text, "top": [[text, 1]]}}
        failed = Trial({text: text}, {0: FoldResult(error=text)})
        result = make_result(
            [make_trial(0.5, **{text: [text]}), failed], params={"loss": "mse", text: text}, tested=FoldResult(error=text)
        )
        return report.render(result, make_spec(text), make_manifest(profile=profile), {text: text})

    assert tags(page(HOSTILE)) == tags(page(HARMLESS))
    assert html.escape(HOSTILE[:20]) in page(HOSTILE)


def test_the_templates_are_in_the_zip_that_travels_with_a_job(tmp_path):
    code = "from airflow_provider_distkeras.ml.reporting import report; print(report.__file__, report._environment().get_template('report.html.jinja'))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(zip_package(tmp_path))}, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.startswith(str(tmp_path)), done.stderr


def test_trials_are_ranked_and_those_that_failed_have_their_error():
    failed = Trial({"learning_rate": 9.0}, {0: FoldResult(error="DivergenceError: the loss is nan"), 1: FoldResult({"r2": 0.1})})
    trials = [make_trial(0.6, learning_rate=0.1), failed, make_trial(0.2, learning_rate=0.3), make_trial(0.4, learning_rate=0.2)]
    page = render(make_result(trials), make_spec(metrics=["rmse"]))
    table = re.search(r"<th>learning_rate.*?</table>", page, re.DOTALL).group()
    assert re.findall(r"<tr[^>]*>\s*<td>(.*?)</td>", table) == ["0.1", "0.2", "0.3", "9"]
    assert "0.6500 ± 0.0500" in table
    assert "1.3000 ± 0.1000" in table
    assert "DivergenceError: the loss is nan" in table
    assert "-, 0.1000" in table


def test_what_was_done_to_features_and_rows_is_named():
    trial, params = make_trial(0.5), {"class_sampling": {"1": 3.0}, "class_weight": "balanced"}
    page = render(make_result([trial], params=params), scaling={"default": "standard", "price": "log"}, like="file:///models/1")
    for name, value in (
        ("scaling", "default: standard, price: log"),
        ("prepared as for", "file:///models/1"),
        ("class_sampling", "1: 3.0"),
        ("class_weight", "balanced"),
    ):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in page
    assert "<dt>scaling</dt>" not in render(make_result([trial]))


def test_the_metric_of_rows_set_aside_stands_beside_the_folds_and_their_errors_are_drawn():
    tested = FoldResult({"r2": 0.3456}, sample=[[1.0, 1.1], [2.0, 1.9]])
    page = render(make_result([make_trial(0.5, sample=[[1.0, 3.0]])], tested=tested))
    assert "<dt>r2, on rows set aside</dt><dd>0.3456</dd>" in page
    assert "Predictions of the best trial for rows set aside" in headings(page)
    assert "2 of the rows." in page


def test_of_two_classes_there_is_a_roc_and_a_calibration_by_the_classes_names(monkeypatch):
    sample = [[1.0, 0.2, 0.8], [0.0, 0.9, 0.1], [1.0, 0.6, 0.4]]
    seen = {}
    confusion = plots.confusion
    monkeypatch.setattr(plots, "confusion", lambda rows, names: seen.update(names=names) or confusion(rows, names))
    label = {"kind": "category", "count": 3, "missing": 0, "top": [["yes", 2], ["no", 1]]}
    details = {"label_col": "busy", "profile": {"busy": label}}
    page = render(make_result([make_trial(0.5, sample=sample)], params={"loss": "categorical_crossentropy"}), **details)
    assert seen["names"] == ["no", "yes"]
    assert page.count('<figure class="half">') == 5
    assert page.count("<figure>") == 1


def test_no_sample_no_section():
    assert "Predictions of the best trial for rows held out of the folds" not in headings(render(make_result([make_trial(0.5)])))


def lines_of(axes):
    return [[float(y) for y in line.get_ydata()] for line in axes.lines]


def test_parallel_coordinates_lie_by_size_and_others_in_turn():
    ranked = [make_trial(0.9, learning_rate=0.1, optimizer="adam"), make_trial(0.5, learning_rate=0.001, optimizer="sgd")]
    axes, colors = plots.parallel_coordinates(ranked, "r2").axes
    assert colors.get_ylabel() == "r2"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["learning_rate", "optimizer"]
    other, best = lines_of(axes)[:2]
    assert best == pytest.approx([1.0, 0.0], abs=0.03)
    assert other == pytest.approx([0.0, 1.0], abs=0.03)
    assert plots.parallel_coordinates([make_trial(0.9, a=1), make_trial(0.5, a=2)], "r2") is None


@pytest.mark.parametrize("value", [[None, 8, 1], {"class": "Adam"}, True, None, "text"])
def test_values_of_any_kind_can_be_drawn(value):
    ranked = [make_trial(0.9, some=value, rate=0.1), make_trial(0.5, some=3, rate=0.2), make_trial(0.4, some=3, rate=0.3)]
    page = render(make_result(ranked))
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


TEXTS = ["$5%-$10%", "$", r"\$x", r"$\frac{", "a\nb\x00\x0b", "x" * 5_000, "日本 -- ]]> <b>", "\ud800"]


@pytest.mark.parametrize("text", TEXTS)
def test_no_text_of_the_data_is_parsed_by_a_figure(text):
    classes = {
        "label_col": "y",
        "profile": {"y": {"kind": "category", "count": 2, "missing": 0, "top": [[text, 1], ["other", 1]]}},
    }
    best = make_trial(0.5, sample=[[1.0, 0.2, 0.8], [0.0, 0.9, 0.1]], loss="categorical_crossentropy", some=text, rate=0.1)
    trials = [best, make_trial(0.4, some="other", rate=0.2)]
    page = render(make_result(trials, params={"loss": "categorical_crossentropy"}), **classes)
    assert "cannot be drawn" not in page
    for svg in re.findall(r"data:image/svg\+xml;base64,([^\"]*)", page):
        ElementTree.fromstring(base64.b64decode(svg))


@pytest.mark.parametrize("text", ["$5%-$10%", r"\$5", "$$"])
def test_a_dollar_is_drawn_as_a_dollar(text):
    figure = plots.confusion(np.array([[0, 0.9, 0.1], [1, 0.3, 0.7]]), [text, "b"])
    label = figure.axes[0].get_yticklabels()[0]
    assert label._preprocess_math(label.get_text()) == (text, False)


def test_a_figure_that_cannot_be_drawn_is_a_sentence(monkeypatch):
    def fail(*_):
        raise ValueError("Parse <error>")

    monkeypatch.setattr(plots, "metric_by_trial", fail)
    page = render(make_result([make_trial(0.5)]))
    assert "The metric by trial cannot be drawn: ValueError: Parse &lt;error&gt;" in page
    assert "Learning curves of the best trial" in headings(page)


def test_learning_curves_say_what_their_loss_is_of():
    history = {"loss": [1.0, 0.5]}
    refit = replace(Model.summary, label_transform={"kinds": ["standardize"], "sizes": [1], "mean": [3.0], "std": [2.0]})
    for summary, unit in ((Model.summary, ""), (refit, ", of transformed labels")):
        figure = plots.learning_curves(make_trial(0.5, history=history), summary, "mse")
        assert figure.axes[0].get_ylabel() == f"loss (mse){unit}"
        assert summary.plot().axes[0].get_ylabel() == f"loss{unit}"
