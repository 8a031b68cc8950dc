"""The spec of a train job."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import (
    Field,
    boolean,
    check_names,
    choice,
    integer,
    json_value,
    list_of,
    mapping_of,
    number,
    optional,
    text,
    uri_without_secret,
)
from airflow_provider_distkeras.contract.params.choices import BACKENDS, SEARCHES
from airflow_provider_distkeras.contract.params.fitting import FITTING
from airflow_provider_distkeras.contract.params.network import HYPERPARAMETERS, check_network
from airflow_provider_distkeras.contract.params.objectives import check_evaluator
from airflow_provider_distkeras.contract.params.schedules import check_rates
from airflow_provider_distkeras.contract.params.trainers import TRAINERS, trainer_fields
from airflow_provider_distkeras.contract.specs.base import JobDetails, spec_field
from airflow_provider_distkeras.contract.specs.distributions import distribution, draw
from airflow_provider_distkeras.contract.specs.evaluated import EvaluatedSpec
from airflow_provider_distkeras.contract.specs.paths import uri


@dataclass(frozen=True, kw_only=True)
class TrainDetails(JobDetails):
    """What a train job's manifest holds beside its result.

    Attributes:
        trials: the params, metrics, seconds and error of each trial.
        training: the summary of the refit; see `training.summary`.
        test_error: why the best trial has no metrics on the rows set aside; None if it has, or none were set aside.
        mlflow: the MLflow run, or why nothing was logged to it; None without `mlflow_experiment`.
        dialect: how the files were written that the model was trained on; see `contract.files.csv_dialect`.
    """

    trials: list[dict[str, Any]] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)
    test_error: str | None = None
    mlflow: dict[str, Any] | None = None
    dialect: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainSpec(EvaluatedSpec):
    """A prepared dataset to a cross-validated model, refitted on all rows."""

    kind: ClassVar[str] = "train"
    version: ClassVar[int] = 2  # 1 had num_cells and max_failed_cells, which are aliases now
    result_fields: ClassVar[tuple[str, ...]] = ("model_path", "report_path", "best_params", "metrics", "rows")
    main_artifact: ClassVar[str] = "model_path"
    artifacts: ClassVar[Mapping[str, str]] = {"model_path": "model"}
    details_class: ClassVar[type[JobDetails]] = TrainDetails
    added_fields: ClassVar[tuple[str, ...]] = (*EvaluatedSpec.added_fields, "fold_gap", "refit", "initial_model")

    dataset_path: str = spec_field(uri, "The dataset_path a preprocess task returned.")
    trainer: str = spec_field(choice("trainer", TRAINERS), "The trainer, by name.", "ADAG")
    trainer_params: dict[str, Any] = spec_field(mapping_of(json_value), "Parameters of the trainer.", {})
    hyperparameters: dict[str, Any] = spec_field(mapping_of(json_value), "Hyper-parameters that all trials share.", {})
    initial_model: str | None = spec_field(
        optional(uri),
        "The model_path of an earlier train task, with whose weights every fit begins; by default with new ones.",
        None,
    )
    search: str = spec_field(
        choice("search", SEARCHES),
        "grid: every trial of the grid; random: num_trials drawn at random; optuna: num_trials that Optuna proposes.",
        "grid",
    )
    param_grid: dict[str, list[Any]] = spec_field(mapping_of(list_of(json_value, minimum=1)), "Values to search, per name.", {})
    param_distributions: dict[str, dict[str, list[Any]]] = spec_field(
        mapping_of(distribution), "What random and optuna draw from beside param_grid, such as {'loguniform': [1e-4, 0.1]}.", {}
    )
    num_trials: int | None = spec_field(optional(integer(1)), "Trials of a random search or of Optuna.", None, alias="num_cells")
    halving_factor: int | None = spec_field(
        optional(integer(2)), "Train all trials a little, and one in so many of them so many times longer, up to num_epoch.", None
    )
    max_minutes: float | None = spec_field(optional(number(positive=True)), "Minutes after which no other trial is begun.", None)
    max_failed_trials: int | None = spec_field(
        optional(integer(0)), "Trials that may fail or diverge; by default all but one.", None, alias="max_failed_cells"
    )
    num_folds: int = spec_field(
        integer(1),
        "Folds of the cross validation; with 1, trials are measured once, on test_share of the rows, else on validation rows.",
        3,
    )
    stratified: bool = spec_field(boolean, "Whether every fold gets the same share of each label.", False)
    test_share: float = spec_field(
        number(0.0, 1.0), "Share of the rows that the search does not see, to measure the best trial on.", 0.0
    )
    fold_gap: float = spec_field(
        number(0.0),
        "With a time_col, how long before the rows that it is measured on a fold trains: seconds, or numbers.",
        0.0,
    )
    refit: bool = spec_field(
        boolean,
        "Whether the best trial is trained again, on all rows; else its network is the model, for num_folds=1.",
        True,
    )
    parallelism: int | None = spec_field(
        optional(integer(1)), "Trials that run at the same time, at most; by default as many as the cluster has slots for.", None
    )
    seed: int = spec_field(integer(0), "Seed of the folds, the weights, the shuffles and the dropout.", 0)
    backend: str | None = spec_field(
        optional(choice("backend", BACKENDS)),
        "Keras backend of the workers; else KERAS_BACKEND, else tensorflow.",
        None,
    )
    mlflow_experiment: str | None = spec_field(
        optional(text), "Log parameters, metrics, trials, model and report to this experiment of MLflow.", None
    )
    mlflow_tracking_uri: str | None = spec_field(
        optional(uri_without_secret), "MLflow's server; else MLFLOW_TRACKING_URI where the job's driver runs.", None
    )
    tensorboard: bool = spec_field(
        boolean, "Whether to write TensorBoard event files into the attempt's folder `tensorboard`.", False
    )

    @classmethod
    def build(cls, **values: Any) -> Self:
        """Return the spec as `Spec.build` does; the values inside the dicts are checked and cast under their own names."""
        spec = super().build(**values)
        own = trainer_fields(spec.trainer)
        check_names(f"parameter of {spec.trainer}", spec.trainer_params, own)
        fixed = {**HYPERPARAMETERS, **FITTING}
        check_names("hyper-parameter", spec.hyperparameters, fixed)
        grid = {**HYPERPARAMETERS, **own}
        check_names("name in param_grid", spec.param_grid, grid)
        check_names("name in param_distributions", spec.param_distributions, grid)
        for name, value in spec.trainer_params.items():
            spec.trainer_params[name] = own[name].cast(f"trainer_params[{name!r}]", value)
        for name, value in spec.hyperparameters.items():
            spec.hyperparameters[name] = fixed[name].cast(f"hyperparameters[{name!r}]", value)
        for name, choices in spec.param_grid.items():
            spec.param_grid[name] = [grid[name].cast(f"param_grid[{name!r}][{i}]", value) for i, value in enumerate(choices)]
        for name, one in spec.param_distributions.items():
            ((kind, bounds),) = one.items()
            where = f"param_distributions[{name!r}][{kind!r}]"
            one[kind] = [grid[name].cast(where, bound) for bound in bounds]
            if kind in ("uniform", "loguniform"):
                _check_continuous(where, grid[name], *one[kind])
        spec._check_fixed()
        for trial in spec.trials() or draw(spec.distributions, 1, spec.seed):
            check_network({**spec.hyperparameters, **trial})
            check_rates({**spec.hyperparameters, **trial})
            if spec.uses_evaluator:
                check_evaluator(spec.evaluator, {**spec.hyperparameters, **trial})
        return spec

    def check_whole(self) -> None:
        """Check that a search has what it needs: a number of trials and distributions, or a grid."""
        super().check_whole()
        if self.search == "grid":
            for name, value in (("num_trials", self.num_trials), ("param_distributions", self.param_distributions)):
                if value:
                    raise SpecError(f"{name}: search='grid' tries all of param_grid; set search='random' or 'optuna'.")
        elif self.num_trials is None:
            raise SpecError(f"num_trials: search={self.search!r} needs to know how many trials to run, such as 20.")
        elif not self.distributions:
            raise SpecError(f"param_distributions: search={self.search!r} has nothing to draw from; set it, or param_grid.")
        if not self.refit and self.num_folds > 1:
            raise SpecError(f"refit: {self.num_folds} folds train as many networks; set num_folds=1, or leave refit out.")
        if self.mlflow_tracking_uri and not self.mlflow_experiment:
            raise SpecError("mlflow_tracking_uri: nothing is logged without mlflow_experiment; set it, or leave both out.")
        if self.halving_factor is not None:
            if self.search == "optuna":
                raise SpecError("halving_factor: halving is for search='grid' and 'random'; leave it out with 'optuna'.")
            if "num_epoch" in self.distributions:
                raise SpecError("halving_factor: halving decides num_epoch; leave it out of param_grid and param_distributions.")

    def _check_fixed(self) -> None:
        """Check that no name has values from two places."""
        fixed, grid, drawn = {*self.hyperparameters, *self.trainer_params}, {*self.param_grid}, {*self.param_distributions}
        for name, where in [(name, "param_grid") for name in sorted(fixed & grid)] + [
            (name, "param_distributions") for name in sorted(fixed & drawn)
        ]:
            raise SpecError(f"{name!r} is both fixed and in {where}: leave it in one of them.")
        if grid & drawn:
            raise SpecError(f"{min(grid & drawn)!r} is both in param_grid and in param_distributions: leave it in one of them.")

    @property
    def distributions(self) -> dict[str, dict[str, list[Any]]]:
        """The distributions that random and optuna draw from."""
        return {**{name: {"choice": values} for name, values in self.param_grid.items()}, **self.param_distributions}

    @property
    def network_modules(self) -> set[str]:
        """The modules that a network of this search may import."""
        choices = [{name: value} for name, one in self.distributions.items() for value in one.get("choice", [])]
        modules: set[str] = set()
        for values in [self.hyperparameters, *choices]:
            modules.update(values.get("custom_objects") or ())
            network = values.get("network") or ""
            if not network.lstrip().startswith("{"):  # the name of a function, not JSON
                modules.add(network.partition(":")[0])
        return modules - {""}

    def trials(self) -> list[dict[str, Any]]:
        """Return the params of the trials that are set before the search begins, in a fixed order; none for Optuna."""
        if self.search == "optuna":
            return []
        if self.search == "random":
            return [*draw(self.distributions, self.num_trials or 0, self.seed)]
        trials: list[dict[str, Any]] = [{}]
        for name, values in sorted(self.param_grid.items()):
            trials = [{**trial, name: value} for trial in trials for value in values]
        return trials


def _check_continuous(where: str, field: Field, low: float, high: float) -> None:
    """Raise SpecError unless a field takes what lies between bounds that it takes."""
    try:
        field.cast(where, low + (high - low) / math.pi)
    except SpecError:
        raise SpecError(f"{where}: only whole numbers will do; draw them by {{'int': [{low}, {high}]}}.") from None
