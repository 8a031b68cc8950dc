"""How the metric of a DAG's models has moved, period by period, and which of them is champion."""

from __future__ import annotations

import html
from collections.abc import Sequence

from airflow_provider_distkeras.contract.html import page
from airflow_provider_distkeras.plugins import chart
from airflow_provider_distkeras.plugins.artifacts import NamedChampion, deciding_metric, find_champions
from airflow_provider_distkeras.plugins.models import MAX_RUNS, ModelRecord, by_task, find_models
from airflow_provider_distkeras.plugins.table import number, period, report_link, spread

#: How many tasks and map indexes one page shows.
_MAX_TASKS = 50


def metrics_page(dag_id: str) -> str:
    """The page of a DAG, of what its tasks returned and what lies beside their artifacts."""
    models = find_models(dag_id)
    tasks = by_task(models)
    champions, notes = find_champions(list(dict.fromkeys(model.root for model in models)))
    if len(tasks) > _MAX_TASKS:
        notes.append(f"The first {_MAX_TASKS} of {len(tasks)} tasks and map indexes are shown.")
    sections = [_section(shown, champions) for shown in tasks[:_MAX_TASKS]]
    about = f"The models of {dag_id}, by period of data, of its latest {MAX_RUNS} runs. Of a period, the newest attempt counts."
    if not tasks:
        about = f"None of the latest {MAX_RUNS} runs of {dag_id} has trained a model."
    return page("Model metrics", "".join([*map(_paragraph, [about, *notes]), *sections]), chart.STYLE)


def _section(models: Sequence[ModelRecord], champions: Sequence[NamedChampion]) -> str:
    """The chart and the table of one task's models, with those of the champions that it has trained."""
    newest = max(models, key=lambda model: model.attempt.name)
    own = [named for named in champions if named.is_of_task(newest.dag_id, newest.task_id, newest.map_index)]
    metric, doubt = deciding_metric(newest)
    notes = [f"{metric}: mean over the folds of the cross validation; the bars are one standard deviation."]
    notes += [doubt] if doubt else []
    notes += [_tell(named, models) for named in own]
    marks = _marks(own)
    points = [_point(model, metric, marks.get(model.model_path, "")) for model in models]
    drawn = chart.line_chart(points, f"{metric} of {newest.task} by period")
    figure = f'<div class="scroll"><figure>{drawn}</figure></div>' if drawn else ""
    heading = f"<h2>{html.escape(newest.task)}</h2>\n"
    return heading + "".join(map(_paragraph, notes)) + figure + _table(models, metric, marks)


def _point(model: ModelRecord, metric: str, mark: str) -> chart.Point:
    mean, std = model.measured(metric, "mean"), model.measured(metric, "std")
    return chart.Point(period(model.attempt.period), mean, std or 0.0, f"champion of {mark}" if mark else "")


def _table(models: Sequence[ModelRecord], metric: str, marks: dict[str, str]) -> str:
    """A row per period, the newest first."""
    set_aside = any(model.measured(metric, "test") is not None for model in models)
    header = ["period", f"{metric}, mean ± std", *([f"{metric}, on rows set aside"] if set_aside else [])]
    header += ["champion of", "report", "run"]
    lines = []
    for model in reversed(models):
        mark = marks.get(model.model_path, "")
        values = [period(model.attempt.period), spread(model, metric)]
        values += [number(model.measured(metric, "test"))] if set_aside else []
        columns = "".join(f'<td class="value">{html.escape(value)}</td>' for value in values)
        columns += f"<td>{html.escape(mark)}</td><td>{report_link(model)}</td><td>{html.escape(model.run_id)}</td>"
        lines.append(f'<tr class="{"best" if mark else ""}">{columns}</tr>')
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(lines)}</table></div>\n'


def _marks(champions: Sequence[NamedChampion]) -> dict[str, str]:
    """Per path of a model, the names that it is champion of."""
    names: dict[str, list[str]] = {}
    for named in champions:
        names.setdefault(named.champion.model_path, []).append(named.name)
    return {path: ", ".join(each) for path, each in names.items()}


def _tell(named: NamedChampion, models: Sequence[ModelRecord]) -> str:
    """Since when a model of this task is champion, and why."""
    champion = named.champion
    listed = champion.model_path in {model.model_path for model in models}
    which = period(str(champion.period)) + ("" if listed else ", an attempt that is not listed")
    return f"Champion of {named.name} since {str(champion.promoted_at)[:10]}: {which} ({champion.reason})."


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>\n"
