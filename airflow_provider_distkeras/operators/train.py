"""A prepared dataset to a cross-validated model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.specs import TrainSpec
from airflow_provider_distkeras.links import TrainingReportLink
from airflow_provider_distkeras.operators.base import DistKerasBaseOperator, require_artifact

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg

    from airflow_provider_distkeras.contract.request import Request
    from airflow_provider_distkeras.contract.specs import Spec


class DistKerasTrainOperator(DistKerasBaseOperator):
    """Search a grid by cross validation, each cell trained on all workers, and refit the best on all rows.

    Returns `model_path`, `report_path`, `best_params`, `metrics`, `rows` and `manifest_path`.

    :param dataset_path: The `dataset_path` that a preprocess task returned. (templated)
    :param trainer: The trainer, by name. (templated)
    :param trainer_params: Its parameters, such as batch_size, num_epoch, num_workers. (templated)
    :param hyperparameters: What every cell of the grid shares, such as layer_dims, optimizer, learning_rate. (templated)
    :param param_grid: Values to search, per name of a hyper-parameter or trainer parameter. (templated)
    :param evaluator: "regression", "binary" or "multiclass". (templated)
    :param metric: The evaluator's metric that decides; its first if not given. (templated)
    :param num_folds: Folds of the cross validation. (templated)
    :param parallelism: Cells trained at the same time, at most; by default as many as the cluster has slots for. (templated)
    :param seed: Seed of the folds, the weights, the shuffles and the dropout. (templated)
    :param backend: Keras backend of the workers: "tensorflow" or "jax". (templated)
    """

    spec_class = TrainSpec
    path_fields = ("dataset_path",)
    template_fields = (
        *DistKerasBaseOperator.template_fields,
        "dataset_path", "trainer", "trainer_params", "hyperparameters", "param_grid", "evaluator", "metric", "num_folds",
        "parallelism", "seed", "backend",
    )  # fmt: skip
    template_fields_renderers = {  # noqa: RUF012
        **DistKerasBaseOperator.template_fields_renderers,
        "trainer_params": "json",
        "hyperparameters": "json",
        "param_grid": "json",
    }
    operator_extra_links = (*DistKerasBaseOperator.operator_extra_links, TrainingReportLink())

    def __init__(
        self,
        *,
        dataset_path: str | XComArg,
        trainer: str = "ADAG",
        trainer_params: dict[str, Any] | str | None = None,
        hyperparameters: dict[str, Any] | str | None = None,
        param_grid: dict[str, Any] | str | None = None,
        evaluator: str = "regression",
        metric: str | None = None,
        num_folds: int | str = 3,
        parallelism: int | str | None = None,
        seed: int | str = 0,
        backend: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_path = dataset_path
        self.trainer = trainer
        self.trainer_params = trainer_params
        self.hyperparameters = hyperparameters
        self.param_grid = param_grid
        self.evaluator = evaluator
        self.metric = metric
        self.num_folds = num_folds
        self.parallelism = parallelism
        self.seed = seed
        self.backend = backend

    def check_inputs(self, spec: Spec) -> dict[str, str]:
        """The dataset must have been committed. Its path names its attempt, so the path alone tells whether it is the same."""
        assert isinstance(spec, TrainSpec)
        require_artifact(spec.dataset_path, "preprocess", "dataset_path")
        return {}

    def publish(self, context: Context, request: Request, result: dict[str, Any]) -> None:
        """As for every operator; and the link to the report."""
        super().publish(context, request, result)
        self.push_link(context, TrainingReportLink, TrainingReportLink.url(context["ti"]))
