"""The page of a DAG: the metric of its models period by period, and which of them are champions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from airflow_provider_distkeras.plugins import chart
from airflow_provider_distkeras.plugins.artifacts import NamedChampion, deciding_metric, find_champions
from airflow_provider_distkeras.plugins.models import MAX_RUNS, ModelRecord, by_task, find_models
from airflow_provider_distkeras.plugins.rendering import format_period, render

#: The most tasks and segments that one page shows.
_MAX_TASKS = 50


@dataclass(frozen=True)
class _Section:
    """The part of the page for one task.

    Attributes:
        task: the task's name.
        metric: the metric that decides.
        notes: sentences above the chart.
        chart: the metric by period; empty if no model has a value.
        models: one per period, in the order of the periods.
        has_test_rows: whether a model was measured on rows set aside.
        champion_names: by model path, the names that a champion model is champion of.
    """

    task: str
    metric: str
    notes: list[str]
    chart: Markup
    models: Sequence[ModelRecord]
    has_test_rows: bool
    champion_names: dict[str, str]


def metrics_page(dag_id: str) -> str:
    """Return the page of a DAG as HTML, from the XComs of its runs and from what lies beside their artifacts."""
    models = find_models(dag_id)
    tasks = by_task(models)
    champions, notes = find_champions(list(dict.fromkeys(model.root for model in models)))
    if len(tasks) > _MAX_TASKS:
        notes.append(f"The first {_MAX_TASKS} of {len(tasks)} tasks and map indexes are shown.")
    about = f"The models of {dag_id}, by period of data, of its latest {MAX_RUNS} runs. Of a period, the newest attempt counts."
    if not tasks:
        about = f"None of the latest {MAX_RUNS} runs of {dag_id} has trained a model."
    sections = [_section(task_models, champions) for task_models in tasks[:_MAX_TASKS]]
    return render("metrics.html.jinja", notes=[about, *notes], sections=sections)


def _section(models: Sequence[ModelRecord], champions: Sequence[NamedChampion]) -> _Section:
    """Return the section of one task's models, with those of the champions that the task has trained."""
    newest = max(models, key=lambda model: model.attempt.name)
    champions = [each for each in champions if each.is_of_task(newest.dag_id, newest.task_id, newest.segment)]
    metric, doubt = deciding_metric(newest)
    notes = [f"{metric}: mean over the folds of the cross validation; the bars are one standard deviation."]
    notes += [doubt] if doubt else []
    if newest.map_index >= 0 and not newest.map_key:
        notes.append(
            f"These models are filed by the map index, {newest.map_index}, alone: if the list that the task is mapped over has "
            "changed, they are of different segments. Set map_key to a text that names the segment."
        )
    notes += [_champion_note(each, models) for each in champions]
    names = _champion_names(champions)
    points = [_point(model, metric, names.get(model.model_path, "")) for model in models]
    return _Section(
        task=newest.task,
        metric=metric,
        notes=notes,
        chart=chart.line_chart(points, f"{metric} of {newest.task} by period"),
        models=models,
        has_test_rows=any(model.statistic(metric, "test") is not None for model in models),
        champion_names=names,
    )


def _point(model: ModelRecord, metric: str, champion_names: str) -> chart.Point:
    return chart.Point(
        label=format_period(model.attempt.period),
        value=model.statistic(metric, "mean"),
        spread=model.statistic(metric, "std") or 0.0,
        mark=f"champion of {champion_names}" if champion_names else "",
    )


def _champion_names(champions: Sequence[NamedChampion]) -> dict[str, str]:
    """Return the names that each champion model, by its path, is champion of."""
    names: dict[str, list[str]] = {}
    for each in champions:
        names.setdefault(each.champion.model_path, []).append(each.name)
    return {path: ", ".join(each) for path, each in names.items()}


def _champion_note(named: NamedChampion, models: Sequence[ModelRecord]) -> str:
    """Return a sentence on since when a model of this task is champion, and why."""
    champion = named.champion
    is_listed = champion.model_path in {model.model_path for model in models}
    period = format_period(str(champion.period)) + ("" if is_listed else ", an attempt that is not listed")
    return f"Champion of {named.name} since {str(champion.promoted_at)[:10]}: {period} ({champion.reason})."
