"""The training report: one self-contained HTML page, drawn by matplotlib."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.html import page
from airflow_provider_distkeras.contract.params import is_classification, losses
from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.ml.reporting import plots
from airflow_provider_distkeras.ml.tuning.search import SearchResult
from airflow_provider_distkeras.ml.tuning.trial import Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: How many of a column's texts are named.
_TOP = 3


def render(found: SearchResult, spec: TrainSpec, prepared: Manifest, versions: Mapping[str, str]) -> str:
    """The page.

    Args:
        found: the search's result.
        spec: what was asked for.
        prepared: what the preprocess task said of the dataset.
        versions: of what made the model.
    """
    summary, loss = found.summary, str(found.best_params.get("loss", "mse"))
    sections = [
        ("Cells", _cells(found, spec.metric_names)),
        ("Learning curves of the best cell", _figure(plots.learning_curves(found.best, summary, loss))),
        (_where_measured(found), _errors(found, prepared)),
        ("The training on all rows", _figure(summary.plot())),
        (
            "Best parameters",
            _table([[name, plots.plain(value)] for name, value in sorted(found.best_params.items())], ["name", "value"]),
        ),
        ("Columns of the dataset", _profile(prepared.details.get("profile", {}))),
        ("Versions", _table([[name, version] for name, version in versions.items()], ["package", "version"])),
        ("What was asked for", f"<pre>{_text(json.dumps(spec.to_dict(), indent=2))}</pre>"),
    ]
    body = "".join(f'<h2>{_text(title)}</h2>\n<div class="scroll">{content}</div>\n' for title, content in sections if content)
    facts = "".join(f"<div><dt>{_text(k)}</dt><dd>{_text(v)}</dd></div>" for k, v in _facts(found, spec, prepared).items())
    return page("Training report", f'<p>Trained on {_text(spec.dataset_path)}</p>\n<dl class="facts">{facts}</dl>\n{body}')


def _facts(found: SearchResult, spec: TrainSpec, prepared: Manifest) -> dict[str, str]:
    """What to know first."""
    metric, summary, tested = spec.metric_name, found.summary, found.test_result
    facts = {f"{metric}, mean of {spec.num_folds} folds": _spread(found.best, metric)}
    if tested is not None:
        facts[f"{metric}, on rows set aside"] = tested.error or f"{tested.metrics[metric]:.4f}"
    return {
        **facts,
        "rows": f"{prepared.result['rows']:,}",
        "columns": str(len(prepared.result["feature_columns"])),
        "cells tried": str(len(found.trials)),
        "trainer": f"{spec.trainer}, {len(summary.workers)} worker{'s' if len(summary.workers) > 1 else ''}",
        "training speed": f"{summary.samples_per_second:,.0f} rows/s",
    }


def _cells(found: SearchResult, metrics: list[str]) -> str:
    """What was tried, and what it came to: the best first, those that failed last."""
    ended = [cell for cell in found.trials if cell is not found.best and cell.mean(metrics[0]) is not None]
    ended.sort(key=lambda cell: cell.mean(metrics[0]) or 0.0, reverse=found.larger_is_better)
    ranked = [found.best, *ended]
    names = plots.varied(found.trials)

    drawn = [plots.cells(ranked, metrics[0], names), plots.parallel_coordinates(ranked, metrics[0])]
    figures = "".join(_figure(figure) for figure in drawn if figure is not None)
    failed = [cell for cell in found.trials if cell.mean(metrics[0]) is None]
    lines = []
    for cell in [*ranked, *failed]:
        seconds = sum(outcome.seconds for outcome in cell.results.values())
        decides = cell.error if cell.mean(metrics[0]) is None else None
        columns = "".join(f"<td>{_text(plots.plain(cell.params.get(each)))}</td>" for each in names)
        columns += f'<td class="{"error" if decides else "value"}">{_text(decides or _spread(cell, metrics[0]))}</td>'
        folds = ", ".join("-" if value is None else f"{value:.4f}" for value in cell.values(metrics[0]))
        values = [folds, *(_spread(cell, metric) for metric in metrics[1:]), f"{seconds:.1f} s"]
        columns += "".join(f'<td class="value">{_text(value)}</td>' for value in values)
        lines.append(f'<tr class="{"best" if cell is found.best else ""}">{columns}</tr>')
    header = [*names, f"{metrics[0]}, mean ± std", "per fold", *metrics[1:], "trained for"]
    head = "".join(f"<th>{_text(each)}</th>" for each in header)
    return f"{figures}<table><tr>{head}</tr>{''.join(lines)}</table>"


def _spread(cell: Trial, metric: str) -> str:
    """A metric over the folds."""
    mean, std = cell.mean(metric), cell.std(metric)
    return "-" if mean is None else f"{mean:.4f} ± {std:.4f}"


def _where_measured(found: SearchResult) -> str:
    where = "rows set aside" if found.test_result is not None else "rows held out of the folds"
    return f"Predictions of the best cell for {where}"


def _errors(found: SearchResult, prepared: Manifest) -> str:
    """Where the best cell is right and where it is wrong, by a sample of rows that it was not trained on."""
    outcomes = [found.test_result] if found.test_result is not None else list(found.best.results.values())
    rows = [row for outcome in outcomes for row in outcome.sample]
    if not rows:
        return ""
    sample = np.array(rows, dtype=np.float64)
    note = f"<p>{len(sample):,} of the rows.</p>"
    if not is_classification(losses(found.best_params)[0]):
        return note + _figure(plots.predictions(sample)) + _figure(plots.residuals(sample))
    classes = sorted(
        text for text, _ in prepared.details.get("profile", {}).get(prepared.details.get("label_col"), {}).get("top", [])
    )
    names = classes if len(classes) == sample.shape[1] - 1 else [str(number) for number in range(sample.shape[1] - 1)]
    drawn = [plots.confusion(sample, names)]
    if sample.shape[1] == 3:
        drawn += [plots.roc(sample), plots.calibration(sample)]
    return note + "".join(map(_figure, drawn))


def _figure(figure: Figure) -> str:
    svg = io.StringIO()
    figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    data = base64.b64encode(svg.getvalue().encode()).decode()
    kind = ' class="half"' if figure.get_figwidth() < plots.WIDE else ""
    return f'<figure{kind}><img alt="" src="data:image/svg+xml;base64,{data}"></figure>'


def _profile(profile: dict[str, dict[str, Any]]) -> str:
    """What went in, a column of the files in a row."""
    header = ["column", "holds", "values", "missing", "mean", "std", "min", "median", "max", "most frequent"]
    rows = []
    for name, column in profile.items():
        numbers = [column.get(key) for key in ("mean", "std", "min")]
        numbers += [column.get("quantiles", {}).get("0.5"), column.get("max")]
        top = ", ".join(f"{text} ({count:,})" for text, count in column.get("top", [])[:_TOP])
        counts = [f"{column['count']:,}", f"{column['missing']:,}"]
        rows.append([name, column["kind"], *counts, *map(_number, numbers), top])
    return _table(rows, header)


def _number(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.4g}"


def _table(rows: list[list[str]], header: list[str]) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{_text(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _text(value: str) -> str:
    return html.escape(value)
