"""The operator that trains a cross-validated model on a prepared dataset."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.artifacts.champions import names_champion
from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.specs import PreprocessSpec, TrainSpec
from airflow_provider_distkeras.hooks.storage import require_artifact
from airflow_provider_distkeras.links.training_report import TrainingReportLink
from airflow_provider_distkeras.operators.base import DistKerasBaseOperator
from airflow_provider_distkeras.operators.job_run import JobRun

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import XComArg


class DistKerasTrainOperator(DistKerasBaseOperator):
    """Search hyper-parameters by cross validation, on the whole cluster, and refit the best on all rows.

    A retried task takes over the fits that the try before it has finished.

    Returns `model_path`, `report_path`, `best_params`, `metrics`, `rows` and `manifest_path`.

    :param dataset_path: The `dataset_path` that a preprocess task returned. (templated)
    :param trainer: The trainer, by name. (templated)
    :param trainer_params: Its parameters, such as batch_size, num_epoch, num_workers. (templated)
    :param hyperparameters: Hyper-parameters that all trials share, such as layer_dims, optimizer, learning_rate. (templated)
    :param initial_model: A `model_path`, or the name of a champion (see `DistKerasPromoteOperator`): every fit begins with the
        weights of its layers of the same name and shapes. The features must mean the same. Without a champion of that name, as
        before the first promotion, with new weights. (templated)
    :param search: "grid", "random" or "optuna". (templated)
    :param param_grid: Values to search, per name of a hyper-parameter or trainer parameter. (templated)
    :param param_distributions: What random and optuna draw from beside it, per name, such as
        ``{"loguniform": [1e-4, 0.1]}``; also "uniform", "int" and "choice". (templated)
    :param num_trials: Trials of a random search or of Optuna; `num_cells`, its earlier name, is deprecated. (templated)
    :param halving_factor: Train all trials a little, then one in so many of them so many times longer, up to num_epoch.
        (templated)
    :param max_minutes: Minutes after which no other trial begins. (templated)
    :param max_failed_trials: Trials that may fail or diverge; by default all but one; `max_failed_cells`, its earlier name, is
        deprecated. (templated)
    :param evaluator: "regression", "binary" or "multiclass". (templated)
    :param metric: The evaluator's metric that decides, by default its first; or your own, "package.module:name", a function
        (labels, outputs, weights) -> float. (templated)
    :param metric_direction: Of your own metric, whether "min" or "max" is best. (templated)
    :param metrics: Further metrics to measure. (templated)
    :param num_folds: Folds of the cross validation; with 1, trials are measured once: on `test_share` of the rows, else on the
        validation rows of the dataset. One trial and nothing set aside: it is trained, and nothing is measured. (templated)
    :param stratified: Whether every fold gets the same share of each label. (templated)
    :param test_share: Share of the rows that the search does not see, to measure the best trial on. (templated)
    :param fold_gap: With a `time_col`, how long before the rows that a fold is measured on its training ends: seconds, or numbers
        of that column. (templated)
    :param refit: Whether the best trial is trained again, on all rows; with `num_folds=1` its network may be the model. Features
        are then scaled and filled by all rows, those set aside, too. (templated)
    :param parallelism: Trials at the same time, at most; by default as many as the cluster has slots for. (templated)
    :param seed: Seed of the folds, the weights, the shuffles and the dropout. (templated)
    :param backend: Keras backend of the workers: "tensorflow", "jax" or "torch". (templated)
    :param mlflow_experiment: Log parameters, metrics, trials, model and report to this experiment of MLflow. (templated)
    :param mlflow_tracking_uri: MLflow's server; else MLFLOW_TRACKING_URI where the Spark driver runs. Users and passwords go
        there too, as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. (templated)
    :param tensorboard: Whether to write TensorBoard event files beside the model. (templated)
    """

    spec_class = TrainSpec
    path_fields = ("dataset_path", "initial_model")
    champion_fields = ("initial_model",)
    template_fields = (
        *DistKerasBaseOperator.template_fields,
        "dataset_path", "trainer", "trainer_params", "hyperparameters", "initial_model", "search", "param_grid",
        "param_distributions", "num_trials", "halving_factor", "max_minutes", "max_failed_trials", "evaluator", "metric",
        "metric_direction", "metrics", "num_folds", "stratified", "test_share", "fold_gap", "refit", "parallelism", "seed",
        "backend", "mlflow_experiment", "mlflow_tracking_uri", "tensorboard",
    )  # fmt: skip
    template_fields_renderers = {  # noqa: RUF012
        **DistKerasBaseOperator.template_fields_renderers,
        "trainer_params": "json",
        "hyperparameters": "json",
        "param_grid": "json",
        "param_distributions": "json",
    }
    operator_extra_links = (*DistKerasBaseOperator.operator_extra_links, TrainingReportLink())

    def __init__(
        self,
        *,
        dataset_path: str | XComArg,
        trainer: str = "ADAG",
        trainer_params: dict[str, Any] | str | None = None,
        hyperparameters: dict[str, Any] | str | None = None,
        initial_model: str | XComArg | None = None,
        search: str = "grid",
        param_grid: dict[str, Any] | str | None = None,
        param_distributions: dict[str, Any] | str | None = None,
        num_trials: int | str | None = None,
        halving_factor: int | str | None = None,
        max_minutes: float | str | None = None,
        max_failed_trials: int | str | None = None,
        evaluator: str = "regression",
        metric: str | None = None,
        metric_direction: str | None = None,
        metrics: list[str] | str | None = None,
        num_folds: int | str = 3,
        stratified: bool | str = False,
        test_share: float | str = 0.0,
        fold_gap: float | str = 0.0,
        refit: bool | str = True,
        parallelism: int | str | None = None,
        seed: int | str = 0,
        backend: str | None = None,
        mlflow_experiment: str | None = None,
        mlflow_tracking_uri: str | None = None,
        tensorboard: bool | str = False,
        num_cells: int | str | None = None,
        max_failed_cells: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        num_trials = _by_earlier_name("num_cells", num_cells, "num_trials", num_trials)
        max_failed_trials = _by_earlier_name("max_failed_cells", max_failed_cells, "max_failed_trials", max_failed_trials)
        super().__init__(**kwargs)
        self.dataset_path = dataset_path
        self.trainer, self.trainer_params = trainer, trainer_params
        self.hyperparameters, self.initial_model = hyperparameters, initial_model
        self.search, self.num_trials, self.halving_factor = search, num_trials, halving_factor
        self.param_grid, self.param_distributions = param_grid, param_distributions
        self.max_minutes, self.max_failed_trials = max_minutes, max_failed_trials
        self.evaluator, self.metric, self.metric_direction, self.metrics = evaluator, metric, metric_direction, metrics
        self.num_folds, self.stratified, self.fold_gap = num_folds, stratified, fold_gap
        self.test_share, self.refit, self.parallelism = test_share, refit, parallelism
        self.seed, self.backend = seed, backend
        self.mlflow_experiment, self.mlflow_tracking_uri = mlflow_experiment, mlflow_tracking_uri
        self.tensorboard = tensorboard
        self.check_constants()

    def resolve(self, run: JobRun) -> dict[str, Any]:
        """Return the path of the initial model, if `initial_model` is the name of a champion: None if there is none yet."""
        if not names_champion(self.initial_model):
            return {}
        champion = run.champions(self.initial_model).present()
        if champion is None:
            self.log.info("There is no champion of %r yet: training begins with new weights.", self.initial_model)
            return {"initial_model": None}
        self.log.info("Training begins with the weights of the champion of %r: %s.", self.initial_model, champion.model_path)
        return {"initial_model": champion.model_path}

    def check_inputs(self, run: JobRun) -> dict[str, str]:
        """Raise SpecError if dataset or model was not committed; their paths name their attempts: they need no fingerprints."""
        assert isinstance(run.spec, TrainSpec)
        require_artifact(run.spec.dataset_path, PreprocessSpec, "dataset_path", run.root)
        if run.spec.initial_model is not None:
            require_artifact(run.spec.initial_model, TrainSpec, "initial_model", run.root)
        return {}


def _by_earlier_name(earlier: str, earlier_value: Any, name: str, value: Any) -> Any:
    """Return the value of an argument that may be given by its earlier name; raise SpecError if both are given."""
    if earlier_value is None:
        return value
    if value is not None:
        raise SpecError(f"{name}: received {earlier} too, which is its earlier name. Leave {earlier} out.")
    warnings.warn(f"{earlier} is deprecated: use {name}.", DeprecationWarning, stacklevel=3)
    return earlier_value
