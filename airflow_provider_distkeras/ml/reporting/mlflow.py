"""A search as a run of an MLflow experiment, its cells as runs below it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from pyspark.ml import PipelineModel

from airflow_provider_distkeras.contract.errors import SpecError, TrainingError
from airflow_provider_distkeras.ml.reporting.formatting import format_value
from airflow_provider_distkeras.spark.environment import RECORDED_PACKAGES, installed_versions

if TYPE_CHECKING:
    from airflow_provider_distkeras.ml.tuning.search import SearchResult
    from airflow_provider_distkeras.ml.tuning.trial import Trial

logger = logging.getLogger(__name__)

#: Older servers take no longer values.
_LONGEST = 500
#: Servers take no more at once.
_METRICS, _PARAMS = 1000, 100
#: What a model's users need, with the versions that made it.
_PACKAGES = ("airflow-provider-distkeras", "pyspark", *RECORDED_PACKAGES)


class MlflowRun:
    """A run, begun before anything is trained, so that a server that refuses is known at once; use it as a context manager.

    What the server does not take afterwards does not undo a training that went well: it is told in the log and by `log`.

    Args:
        experiment: the experiment's name; it is made if there is none.
        tracking_uri: of the server; else MLFLOW_TRACKING_URI of the driver's environment.
        tags: of the run.

    Raises:
        SpecError: MLflow is not installed.
        TrainingError: the server cannot be reached, or refuses.
    """

    def __init__(self, experiment: str, tracking_uri: str | None, tags: Mapping[str, str]) -> None:
        try:
            import mlflow
        except ImportError as error:
            raise SpecError(
                "mlflow_experiment: MLflow is not installed where the job's driver runs: "
                "pip install 'airflow-provider-distkeras[mlflow]' there, or leave mlflow_experiment out."
            ) from error
        self._mlflow: Any = mlflow
        self._experiment, self._tracking_uri, self._tags = experiment, tracking_uri, dict(tags)

    def __enter__(self) -> Self:
        try:
            if self._tracking_uri:
                self._mlflow.set_tracking_uri(self._tracking_uri)
            self._mlflow.set_experiment(self._experiment)
            self._run = self._mlflow.start_run(tags=self._tags)
        except Exception as error:
            raise TrainingError(
                f"mlflow_experiment: MLflow at {_without_user(self._mlflow.get_tracking_uri())} did not begin a run of "
                f"{self._experiment!r}: {str(error).splitlines()[0]} Check mlflow_tracking_uri, or MLFLOW_TRACKING_URI and the "
                "other MLFLOW_ variables where the job's driver runs."
            ) from error
        return self

    def __exit__(self, failed: type[BaseException] | None, *exception: object) -> None:
        try:
            self._mlflow.end_run("FINISHED" if failed is None else "FAILED")
        except Exception as error:
            self._warn(error)

    def log(
        self, found: SearchResult, metric_names: list[str], model: PipelineModel, report: str, scratch: str
    ) -> dict[str, Any]:
        """Log what a search came to: parameters, metrics, learning curves, cells, the model and the report.

        Args:
            found: the search's result; metric_names: its metrics.
            model: with its preprocessing.
            report: the report's HTML.
            scratch: a folder that Spark may write to; what is written there is deleted again.

        Returns:
            The run's `run_id` and `experiment`, and `error`, if the server did not take everything.
        """
        told = {"run_id": self._run.info.run_id, "experiment": self._experiment}
        try:
            self._log(self._run.info.run_id, found.best_params, _metrics(found, metric_names))
            for cell in found.trials:
                self._log_cell(cell, metric_names)
            self._mlflow.log_text(report, "report.html")
            requirements = [f"{name}=={version}" for name, version in installed_versions(_PACKAGES).items()]
            self._mlflow.spark.log_model(model, "model", dfs_tmpdir=scratch, pip_requirements=requirements)
        except Exception as error:
            self._warn(error)
            return {**told, "error": f"{type(error).__name__}: {error}"}
        return told

    def _log_cell(self, cell: Trial, metric_names: list[str]) -> None:
        client, parent = self._mlflow.MlflowClient(), self._run.info
        tags = {**self._tags, "mlflow.parentRunId": parent.run_id}
        if cell.error:
            tags["error"] = cell.error[:_LONGEST]
        run = client.create_run(parent.experiment_id, tags=tags)
        means = {name: cell.mean(name) for name in metric_names}
        folds = [(f"fold_{fold}_{name}", step, value) for fold, outcome in sorted(cell.results.items())
                 for name, values in outcome.history.items() for step, value in enumerate(values, start=1)]  # fmt: skip
        self._log(run.info.run_id, cell.params, [(name, 0, mean) for name, mean in means.items() if mean is not None] + folds)
        client.set_terminated(run.info.run_id, "FAILED" if cell.error else "FINISHED")

    def _log(self, run_id: str, params: Mapping[str, Any], metrics: list[tuple[str, int, float]]) -> None:
        client, now = self._mlflow.MlflowClient(), int(time.time() * 1000)
        told = [self._mlflow.entities.Param(name, format_value(value)[:_LONGEST]) for name, value in sorted(params.items())]
        measured = [self._mlflow.entities.Metric(name, value, now, step) for name, step, value in metrics]
        for start in range(0, len(told), _PARAMS):
            client.log_batch(run_id, params=told[start : start + _PARAMS])
        for start in range(0, len(measured), _METRICS):
            client.log_batch(run_id, metrics=measured[start : start + _METRICS])

    def _warn(self, error: Exception) -> None:
        logger.warning("MLflow did not take everything, the model is not affected: %s: %s", type(error).__name__, error)


def _metrics(found: SearchResult, metric_names: list[str]) -> list[tuple[str, int, float]]:
    """Name, step and value."""
    told = [(f"{name}_{kind}", 0, value) for name in metric_names
            for kind, value in (("mean", found.best.mean(name)), ("std", found.best.std(name))) if value is not None]  # fmt: skip
    if found.test_result is not None:
        told += [(f"{name}_test", 0, value) for name, value in found.test_result.metrics.items()]
    return told + [(name, step, value) for name, values in found.summary.history.items() for step, value in enumerate(values, 1)]


def _without_user(uri: str) -> str:
    """A URI without a user and a password."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
