"""A search as TensorBoard event files: learning curves, and the trials in its table of hyper-parameters."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.ml.reporting.formatting import format_value, varied_params

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

    from airflow_provider_distkeras.ml.tuning.search import SearchResult
    from airflow_provider_distkeras.ml.tuning.trial import Trial

#: Types of values that have a column of their own kind in TensorBoard's table.
_KINDS = ({bool}, {int, float}, {str})


def check_installed() -> None:
    """Raise SpecError if tensorboardX is not installed."""
    try:
        import tensorboardX  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise SpecError(
            "tensorboard: tensorboardX is not installed where the job's driver runs: "
            "pip install 'airflow-provider-distkeras[tensorboard]' there, or leave tensorboard out."
        ) from error


def event_files(result: SearchResult, metric_names: list[str]) -> dict[str, bytes]:
    """Return the content of each event file by its path below TensorBoard's `--logdir`.

    `refit` has the curves of the training on all rows; `trials/{number}` the curves of a trial's folds, its parameters, and the
    means of its metrics.

    Args:
        result: the search's result.
        metric_names: the metrics; the first decides.
    """
    from tensorboardX import SummaryWriter
    from tensorboardX.summary import hparams

    params = _table(result.trials)
    with tempfile.TemporaryDirectory() as folder:
        with SummaryWriter(folder) as writer:
            columns, _, _ = hparams(params[0], dict.fromkeys(metric_names))
            writer.file_writer.add_summary(columns)
        with SummaryWriter(f"{folder}/refit") as writer:
            _write_curves(writer, result.summary.history)
        for number, (trial, values) in enumerate(zip(result.trials, params, strict=True)):
            with SummaryWriter(f"{folder}/trials/{number:04}") as writer:
                _write_trial(writer, trial, values, metric_names)
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _write_trial(writer: SummaryWriter, trial: Trial, values: dict[str, Any], metric_names: list[str]) -> None:
    from tensorboardX.summary import hparams

    means = {name: mean for name in metric_names if (mean := trial.mean(name)) is not None}
    _, start, end = hparams(values, means)
    writer.file_writer.add_summary(start)
    for name, mean in means.items():
        writer.add_scalar(name, mean, 0)
    for number, fold in sorted(trial.results.items()):
        _write_curves(writer, fold.history, f"fold_{number}/")
    if trial.error is None:
        writer.file_writer.add_summary(end)  # its status is success


def _write_curves(writer: SummaryWriter, history: Mapping[str, list[float]], prefix: str = "") -> None:
    for name, values in history.items():
        for epoch, value in enumerate(values, start=1):
            writer.add_scalar(f"{prefix}{name}", value, epoch)


def _table(trials: list[Trial]) -> list[dict[str, Any]]:
    """Return the varied parameters of each trial; those whose values are not of one kind as text."""
    columns = {name: [trial.params.get(name) for trial in trials] for name in varied_params(trials)}
    for name, values in columns.items():
        if not any({type(value) for value in values} <= kind for kind in _KINDS):
            columns[name] = [format_value(value) for value in values]
    return [{name: values[number] for name, values in columns.items()} for number in range(len(trials))]
