"""A search as a run of an MLflow experiment, its trials as runs below it."""

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

#: The most characters of a value that older servers accept.
_MAX_CHARACTERS = 500
#: The most metrics and parameters that a server accepts in one request.
_MAX_METRICS, _MAX_PARAMS = 1000, 100
#: The packages that a model's users need.
_PACKAGES = ("airflow-provider-distkeras", "pyspark", *RECORDED_PACKAGES)

#: A metric's name, step and value.
_Metric = tuple[str, int, float]


class MlflowRun:
    """A run of an MLflow experiment, as a context manager.

    The run is begun before anything is trained, so that a server that refuses it fails the job early. What the server refuses
    afterwards does not undo a training: it is a warning in the log and the `error` that `log` returns.

    Args:
        experiment: the experiment's name; it is created if it does not exist.
        tracking_uri: the server's address; else MLFLOW_TRACKING_URI of the driver's environment.
        tags: the run's tags.

    Raises:
        SpecError: MLflow is not installed.
        TrainingError: the server cannot be reached, or refuses the run.
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
                f"mlflow_experiment: MLflow at {_without_credentials(self._mlflow.get_tracking_uri())} did not begin a run of "
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
        self, result: SearchResult, metric_names: list[str], model: PipelineModel, report: str, scratch: str
    ) -> dict[str, Any]:
        """Log a search: parameters, metrics, learning curves, trials, the model and the report.

        Args:
            result: the search's result.
            metric_names: the metrics of the search.
            model: the model with its preprocessing.
            report: the report's HTML.
            scratch: a folder that Spark may write to; the files written there are deleted again.

        Returns:
            The run's `run_id` and `experiment`, and `error` if the server refused something.
        """
        run = {"run_id": self._run.info.run_id, "experiment": self._experiment}
        try:
            self._log(self._run.info.run_id, result.best_params, _metrics(result, metric_names))
            for trial in result.trials:
                self._log_trial(trial, metric_names)
            self._mlflow.log_text(report, "report.html")
            requirements = [f"{name}=={version}" for name, version in installed_versions(_PACKAGES).items()]
            self._mlflow.spark.log_model(model, "model", dfs_tmpdir=scratch, pip_requirements=requirements)
        except Exception as error:
            self._warn(error)
            return {**run, "error": f"{type(error).__name__}: {error}"}
        return run

    def _log_trial(self, trial: Trial, metric_names: list[str]) -> None:
        client, parent = self._mlflow.MlflowClient(), self._run.info
        tags = {**self._tags, "mlflow.parentRunId": parent.run_id}
        if trial.error:
            tags["error"] = trial.error[:_MAX_CHARACTERS]
        run = client.create_run(parent.experiment_id, tags=tags)
        metrics = [(name, 0, mean) for name in metric_names if (mean := trial.mean(name)) is not None]
        for number, fold in sorted(trial.results.items()):
            metrics += _curves(fold.history, f"fold_{number}_")
        self._log(run.info.run_id, trial.params, metrics)
        client.set_terminated(run.info.run_id, "FAILED" if trial.error else "FINISHED")

    def _log(self, run_id: str, params: Mapping[str, Any], metrics: list[_Metric]) -> None:
        client, now = self._mlflow.MlflowClient(), int(time.time() * 1000)
        texts = [(name, format_value(value)[:_MAX_CHARACTERS]) for name, value in sorted(params.items())]
        param_entities = [self._mlflow.entities.Param(*text) for text in texts]
        metric_entities = [self._mlflow.entities.Metric(name, value, now, step) for name, step, value in metrics]
        for start in range(0, len(param_entities), _MAX_PARAMS):
            client.log_batch(run_id, params=param_entities[start : start + _MAX_PARAMS])
        for start in range(0, len(metric_entities), _MAX_METRICS):
            client.log_batch(run_id, metrics=metric_entities[start : start + _MAX_METRICS])

    def _warn(self, error: Exception) -> None:
        logger.warning("MLflow refused a part of the run, the model is not affected: %s: %s", type(error).__name__, error)


def _metrics(result: SearchResult, metric_names: list[str]) -> list[_Metric]:
    """Return the metrics of the best trial, on the folds and on rows set aside, and the curves of the refit."""
    metrics: list[_Metric] = []
    for name in metric_names:
        statistics = {f"{name}_mean": result.best.mean(name), f"{name}_std": result.best.std(name)}
        metrics += [(key, 0, value) for key, value in statistics.items() if value is not None]
    if result.test_result is not None:
        metrics += [(f"{name}_test", 0, value) for name, value in result.test_result.metrics.items()]
    return metrics + _curves(result.summary.history)


def _curves(history: Mapping[str, list[float]], prefix: str = "") -> list[_Metric]:
    """Return learning curves with the epoch, from 1, as the step."""
    return [(f"{prefix}{name}", epoch, value) for name, values in history.items() for epoch, value in enumerate(values, 1)]


def _without_credentials(uri: str) -> str:
    """Return a URI without user and password."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
