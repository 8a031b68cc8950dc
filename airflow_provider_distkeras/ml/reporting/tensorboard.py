"""What a search came to as TensorBoard event files: learning curves, and the cells in its table of hyper-parameters."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.ml.reporting.formatting import format_value, varied_params

if TYPE_CHECKING:
    from airflow_provider_distkeras.ml.tuning.search import SearchResult
    from airflow_provider_distkeras.ml.tuning.trial import Trial

_FILE = "events.out.tfevents.0"


def check_installed() -> None:
    """Raise SpecError if TensorBoard is not there."""
    try:
        import tensorboard  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise SpecError(
            "tensorboard: its library is not installed where the job's driver runs: "
            "pip install 'airflow-provider-distkeras[tensorboard]' there, or leave tensorboard out."
        ) from error


def event_files(found: SearchResult, metric_names: list[str]) -> dict[str, bytes]:
    """The files by their path below the folder that TensorBoard is to be shown.

    `refit` has the curves of the training on all rows; `cells/{number}` those of a cell's folds, its hyper-parameters, and the
    means of its metrics.

    Args:
        found: the search's result.
        metric_names: the metrics; the first decided.
    """
    names = varied_params(found.trials)
    files = {_FILE: _file([(0, _columns(found.trials, names, metric_names))])}
    files[f"refit/{_FILE}"] = _file(_curves(found.summary.history))
    for number, cell in enumerate(found.trials):
        files[f"cells/{number:04}/{_FILE}"] = _file(_cell(cell, names, metric_names))
    return files


def _cell(cell: Trial, names: list[str], metric_names: list[str]) -> Iterable[tuple[int, Any]]:
    from tensorboard.plugins.hparams import summary_v2

    yield 0, summary_v2.hparams_pb({name: _value(cell.params.get(name)) for name in names})
    for metric in metric_names:
        mean = cell.mean(metric)
        if mean is not None:
            yield 0, _scalar(metric, mean)
    for fold, outcome in sorted(cell.results.items()):
        yield from _curves(outcome.history, f"fold {fold}/")


def _columns(cells: list[Trial], names: list[str], metric_names: list[str]) -> Any:
    """What the table of hyper-parameters has for columns."""
    from tensorboard.plugins.hparams import summary_v2

    values = {name: sorted({_value(cell.params.get(name)) for cell in cells}, key=str) for name in names}
    hparams = [summary_v2.HParam(name, summary_v2.Discrete(said)) for name, said in values.items() if _of_a_kind(said)]
    return summary_v2.hparams_config_pb(hparams, [summary_v2.Metric(name) for name in metric_names])


def _of_a_kind(values: list[Any]) -> bool:
    return len({type(value) for value in values}) == 1


def _curves(history: Mapping[str, list[float]], prefix: str = "") -> Iterable[tuple[int, Any]]:
    for name, values in history.items():
        for epoch, value in enumerate(values, start=1):
            yield epoch, _scalar(f"{prefix}{name}", value)


def _scalar(name: str, value: float) -> Any:
    from tensorboard.plugins.scalar import summary_v2

    return summary_v2.scalar_pb(name, value)


def _value(value: Any) -> Any:
    """A value that TensorBoard can hold; others as text."""
    return value if isinstance(value, (bool, int, float, str)) else format_value(value)


def _file(summaries: Iterable[tuple[int, Any]]) -> bytes:
    """Steps and their summaries as an event file."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    content, now = io.BytesIO(), time.time()
    writer = RecordWriter(content)
    writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    for step, summary in summaries:
        writer.write(Event(wall_time=now, step=step, summary=summary).SerializeToString())
    return content.getvalue()
