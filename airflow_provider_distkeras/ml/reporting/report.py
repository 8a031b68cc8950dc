"""The training report: one self-contained HTML page with figures drawn by matplotlib."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.html import PAGE_TEMPLATE
from airflow_provider_distkeras.contract.params.losses import as_text
from airflow_provider_distkeras.contract.params.objectives import is_classification, losses, main_task
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.contract.specs.preprocess import PreprocessDetails
from airflow_provider_distkeras.ml.reporting import plots
from airflow_provider_distkeras.ml.reporting.formatting import format_spread, format_value, varied_params
from airflow_provider_distkeras.ml.tuning.search import SearchResult
from airflow_provider_distkeras.ml.tuning.trial import Trial

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

#: The most frequent texts of a column that are shown.
_MAX_TEXTS = 3
_PROFILE_HEADER = ["column", "holds", "values", "missing", "mean", "std", "min", "median", "max", "most frequent"]


@dataclass(frozen=True)
class _TrialRow:
    """A row of the table of trials.

    Attributes:
        is_best: whether the search chose the trial.
        params: the values of the parameters that vary.
        error: why the trial failed, in place of the metric that decides; empty if it did not fail.
        values: its metrics and its time.
    """

    is_best: bool
    params: list[str]
    error: str
    values: list[str]


@dataclass(frozen=True)
class _Picture:
    """A figure in the page.

    Attributes:
        data_uri: its content; empty if it cannot be drawn.
        is_half_width: whether two of its kind stand side by side.
        error: the sentence that stands in its place if it cannot be drawn.
    """

    data_uri: str = ""
    is_half_width: bool = False
    error: str = ""


def check_installed() -> None:
    """Raise SpecError if what draws the report is not installed."""
    for package in ("jinja2", "matplotlib"):
        if importlib.util.find_spec(package) is None:
            raise SpecError(
                f"The training report needs {package}, which is not installed where the job's driver runs: pip install {package} "
                "in the Python of the driver."
            )


def render(result: SearchResult, spec: TrainSpec, dataset: Manifest, versions: Mapping[str, str]) -> str:
    """Return the report as HTML.

    Args:
        result: the search's result.
        spec: the train job's specification.
        dataset: the manifest of the preprocess job that wrote the dataset.
        versions: the version of each package that made the model.
    """
    metrics = spec.metric_names
    ranked, failed = _ranked(result, metrics[0])
    names = varied_params(result.trials)
    loss = ", ".join(map(as_text, losses(result.best_params)))
    sample = _sample(result)
    template = _environment().get_template("report.html.jinja")
    return template.render(
        result=result,
        spec=spec,
        facts=_facts(result, spec, dataset),
        trial_pictures=[
            _picture("The metric by trial", partial(plots.metric_by_trial, ranked, metrics[0], names)),
            _picture("The trials' parameters", partial(plots.parallel_coordinates, ranked, metrics[0])),
        ],
        trial_header=[*names, f"{metrics[0]}, mean ± std", "per fold", *metrics[1:], "trained for"],
        trial_rows=[_trial_row(trial, metrics, names, is_best=trial is result.best) for trial in [*ranked, *failed]],
        learning_curves=_picture("The learning curves", partial(plots.learning_curves, result.best, result.summary, loss)),
        sample_rows=len(sample),
        prediction_pictures=_prediction_pictures(sample, result, dataset) if len(sample) else [],
        training=_picture("The training", result.summary.plot),
        best_params=[(name, format_value(value)) for name, value in sorted(result.best_params.items())],
        profile_header=_PROFILE_HEADER,
        profile_rows=[_profile_row(name, column) for name, column in dataset.details_as(PreprocessDetails).profile.items()],
        versions=versions,
        spec_json=json.dumps(spec.to_dict(), indent=2),
    )


def _environment() -> Environment:
    from jinja2 import ChoiceLoader, DictLoader, Environment, PackageLoader, StrictUndefined

    loader = ChoiceLoader([DictLoader({"page": PAGE_TEMPLATE}), PackageLoader("airflow_provider_distkeras.ml.reporting")])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _facts(result: SearchResult, spec: TrainSpec, dataset: Manifest) -> dict[str, str]:
    """Return the facts at the top of the report by their names."""
    metric, summary, tested = spec.metric_name, result.summary, result.test_result
    facts = {_measured_on(spec): format_spread(result.best, metric)} if result.best.results else {metric: "not measured"}
    if tested is not None:
        facts[f"{metric}, on rows set aside"] = tested.error or f"{tested.metrics[metric]:.4f}"
    details = dataset.details_as(PreprocessDetails)
    return {
        **facts,
        "rows": f"{dataset.result['rows']:,}",
        "columns": str(len(dataset.result["feature_columns"])),
        **({"labels": ", ".join(details.label_col)} if isinstance(details.label_col, list) else {}),
        "trials": str(len(result.trials)),
        "trainer": f"{spec.trainer}, {len(summary.workers)} worker{'s' if len(summary.workers) > 1 else ''}",
        **_settings(result, details),
        "training speed": f"{summary.samples_per_second:,.0f} rows/s",
    }


def _settings(result: SearchResult, details: PreprocessDetails) -> dict[str, str]:
    """Return what was done to features, labels, rows and weights, as far as anything was."""
    summary, started_from, transform = result.summary, result.summary.started_from, result.summary.label_transform
    if started_from and result.best.results:
        started_from += ". It may have been trained on rows that this search measures on."
    values = {
        "workers' settings": summary.settings,
        "initial weights": started_from,
        "prepared as for": details.like,
        "scaling": _listed(details.scaling),
        "labels, as trained": transform and ", ".join(transform["kinds"]),
        **{name: _listed(result.best_params.get(name)) for name in ("class_sampling", "class_weight")},
    }
    return {name: value for name, value in values.items() if value}


def _listed(value: Any) -> str | None:
    """Return a word, or a dict as names and values."""
    return ", ".join(f"{name}: {one}" for name, one in value.items()) if isinstance(value, dict) else value


def _measured_on(spec: TrainSpec) -> str:
    """Return what the value of the metric that decides is called."""
    if spec.num_folds > 1:
        return f"{spec.metric_name}, mean of {spec.num_folds} folds"
    return f"{spec.metric_name}, on {'rows set aside' if spec.test_share else 'validation rows'}"


def _ranked(result: SearchResult, metric: str) -> tuple[list[Trial], list[Trial]]:
    """Return the trials that have the metric, the best first, and those that failed."""
    ended = [trial for trial in result.trials if trial is not result.best and trial.mean(metric) is not None]
    ended.sort(key=lambda trial: trial.mean(metric) or 0.0, reverse=result.larger_is_better)
    return [result.best, *ended], [trial for trial in result.trials if trial.error is not None]


def _trial_row(trial: Trial, metrics: list[str], names: list[str], *, is_best: bool) -> _TrialRow:
    failed = trial.mean(metrics[0]) is None
    error = (trial.error or "") if failed else ""
    per_fold = ", ".join("-" if value is None else f"{value:.4f}" for value in trial.values(metrics[0]))
    seconds = sum(fold.seconds for fold in trial.results.values())
    values = [per_fold, *(format_spread(trial, metric) for metric in metrics[1:]), f"{seconds:.1f} s"]
    return _TrialRow(
        is_best=is_best,
        params=[format_value(trial.params.get(name)) for name in names],
        error=error,
        values=values if error else [format_spread(trial, metrics[0]), *values],
    )


def _sample(result: SearchResult) -> plots.Sample:
    """Return rows that the best trial was measured on and not trained on, with its predictions; shape (rows, columns)."""
    fits = [result.test_result] if result.test_result is not None else list(result.best.results.values())
    return np.array([row for fit in fits for row in fit.sample], dtype=np.float64)


def _prediction_pictures(sample: plots.Sample, result: SearchResult, dataset: Manifest) -> list[_Picture | None]:
    """Return the pictures that show where the best trial is right and where it is wrong.

    Args:
        sample: (rows, 2), labels and predictions; of classes (rows, 1 + classes), class numbers and probabilities.
        result: the search's result.
        dataset: the dataset's manifest; its profile has the names of the classes.
    """
    if not is_classification(main_task(result.best_params)):
        return [
            _picture("The predictions", partial(plots.predictions, sample)),
            _picture("The residuals", partial(plots.residuals, sample)),
        ]
    count = sample.shape[1] - 1
    confusion = _picture("The confusion matrix", partial(plots.confusion, sample, _class_names(dataset, count)))
    if count != 2:
        return [confusion]
    return [
        confusion,
        _picture("The ROC curve", partial(plots.roc, sample)),
        _picture("The calibration", partial(plots.calibration, sample)),
    ]


def _class_names(dataset: Manifest, count: int) -> list[str]:
    """Return the names of the classes by number, from the label's profile; the numbers if it has not all, or others may count."""
    details = dataset.details_as(PreprocessDetails)
    label = details.profile.get(str(details.label_col), {})
    classes = sorted(text for text, _ in label.get("top", []))
    return classes if len(classes) == count and details.like is None else [str(number) for number in range(count)]


def _picture(name: str, draw: Callable[[], Figure | None]) -> _Picture | None:
    """Return a figure as the page shows it, or None if there is nothing to draw.

    The models are trained by then: a figure that cannot be drawn is a sentence, never the end of the job.
    """
    try:
        figure = draw()
        return None if figure is None else _Picture(_data_uri(figure), figure.get_figwidth() < plots.WIDE)
    except Exception as error:  # whatever the figure's library cannot draw
        logger.warning("%s cannot be drawn for the report.", name, exc_info=True)
        return _Picture(error=f"{name} cannot be drawn: {type(error).__name__}: {error}")


def _data_uri(figure: Figure) -> str:
    svg = io.BytesIO()
    figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.getvalue()).decode()}"


def _profile_row(name: str, column: dict[str, Any]) -> list[str]:
    """Return the profile of a column of the files, in the order of the header."""
    numbers = [column.get(key) for key in ("mean", "std", "min")]
    numbers += [column.get("quantiles", {}).get("0.5"), column.get("max")]
    top = ", ".join(f"{text} ({count:,})" for text, count in column.get("top", [])[:_MAX_TEXTS])
    return [name, column["kind"], f"{column['count']:,}", f"{column['missing']:,}", *map(_format_number, numbers), top]


def _format_number(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.4g}"
