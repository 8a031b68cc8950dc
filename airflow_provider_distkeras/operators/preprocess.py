"""The operator that prepares a dataset from files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.artifacts.attempt import current_before
from airflow_provider_distkeras.contract.artifacts.champions import names_champion
from airflow_provider_distkeras.contract.specs import PreprocessSpec, TrainSpec
from airflow_provider_distkeras.contract.specs.feature_columns import feature_columns
from airflow_provider_distkeras.contract.specs.train import TrainDetails
from airflow_provider_distkeras.hooks.storage import fingerprints, require_artifact, storage_for
from airflow_provider_distkeras.operators.inputs import InputOperator
from airflow_provider_distkeras.operators.job_run import JobRun

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import XComArg

#: What `compare_with` calls the newest earlier period.
PREVIOUS = "previous"


class DistKerasPreprocessOperator(InputOperator):
    """Prepare files for training and fit the pipeline that prepared them.

    Returns `dataset_path`, `pipeline_path`, `rows`, `rejected_rows`, `feature_columns` and `manifest_path`. Takes the parameters
    of `InputOperator` beside these.

    :param schema: What columns hold, by their name in the files: "number", "boolean", or "array[8]" for eight numbers in a field.
        Other columns are what their types in the files say, of CSV what the first rows suggest. (templated)
    :param columns_renamed: New name per column of the files. (templated)
    :param excluded_columns: Columns to leave out, by their name in the files. (templated)
    :param label_col: The column to predict, or a list of several, by their new names. (templated)
    :param weight_col: How much a row counts in training, by its new name. (templated)
    :param fold_col: The number, from 0, of the fold a row is held out in. (templated)
    :param group_col: A column whose equal values stay in one fold. (templated)
    :param time_col: A time or a number to order rows by, so that folds train on what came before. (templated)
    :param validation_col: Rows to validate on, and not to train on, by its new name. (templated)
    :param categorical_columns: Columns to one-hot encode, by their new names. (templated)
    :param categorical_encoding: How columns of categories are encoded, by their new names: "onehot", "index" for whole numbers
        that a network embeds, {"index": {"min_count": 5}} with one number for all rarer categories, or {"hash": 100000} for
        numbers that hashes share. They need not be in `categorical_columns`, too. (templated)
    :param max_categories: Columns with more categories are hashed into this many features. (templated)
    :param unseen_categories: New categories in scoring: "ignore" (all indicators are 0) or "quarantine" the row. (templated)
    :param timestamp_columns: What to take from columns of times, by their new names, such as ["month", "weekday"]. (templated)
    :param cyclic_timestamps: Whether these are sines and cosines, so that 23 h is near 0 h. (templated)
    :param missing: How missing values are treated: "fail", "mean", "median", "indicator" (the mean, and an indicator column) or
        "drop"; or a dict with one of these, or the value to fill in, per column. (templated)
    :param scaling: How numbers are scaled: "standard", "minmax", "robust", "log", "quantile" or None; or a dict with one of these
        per column, by its new name, and "default" for all others. (templated)
    :param num_workers: Partitions of the prepared dataset. (templated)
    :param compare_with: How far each column has moved since then is written to the manifest: "previous" for the newest earlier
        period that this task has a result of, or the `manifest_path` or `dataset_path` of a preprocess task. Where there is no
        such period, or a template finds nothing, the run is compared with nothing, and its log says so. (templated)
    :param max_drift: The population stability index of a column above which the task fails. (templated)
    :param like: A `model_path`, or the name of a champion (see `DistKerasPromoteOperator`): files are prepared as those that it
        was trained on, by the same columns, categories, fillings and scales; so it can be a train task's `initial_model`. While
        there is no champion of that name, the other arguments say how to prepare them. (templated)
    """

    spec_class = PreprocessSpec
    path_fields = ("input_path", "compare_with", "like")
    champion_fields = ("like",)
    template_fields = (
        *InputOperator.template_fields,
        "schema", "columns_renamed", "excluded_columns", "label_col", "weight_col", "fold_col", "validation_col",
        "group_col", "time_col",
        "categorical_columns", "categorical_encoding", "max_categories", "unseen_categories",
        "timestamp_columns", "cyclic_timestamps", "missing", "scaling", "num_workers", "compare_with", "max_drift", "like",
    )  # fmt: skip
    template_fields_renderers = {  # noqa: RUF012
        **InputOperator.template_fields_renderers,
        "columns_renamed": "json", "schema": "json", "categorical_encoding": "json",
        "timestamp_columns": "json", "missing": "json",
    }  # fmt: skip

    def __init__(
        self,
        *,
        schema: dict[str, str] | str | None = None,
        columns_renamed: dict[str, str] | str | None = None,
        excluded_columns: list[str] | str | None = None,
        label_col: str | list[str] = "label",
        weight_col: str | None = None,
        fold_col: str | None = None,
        group_col: str | None = None,
        time_col: str | None = None,
        validation_col: str | None = None,
        categorical_columns: list[str] | str | None = None,
        categorical_encoding: dict[str, Any] | str | None = None,
        max_categories: int | str = 256,
        unseen_categories: str = "ignore",
        timestamp_columns: dict[str, list[str]] | str | None = None,
        cyclic_timestamps: bool | str = False,
        missing: str | dict[str, Any] = "fail",
        scaling: str | dict[str, str] | None = None,
        num_workers: int | str | None = None,
        compare_with: str | XComArg | None = None,
        max_drift: float | str | None = None,
        like: str | XComArg | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.schema = schema
        self.columns_renamed = columns_renamed
        self.excluded_columns = excluded_columns
        self.label_col = label_col
        self.weight_col = weight_col
        self.fold_col = fold_col
        self.group_col = group_col
        self.time_col = time_col
        self.validation_col = validation_col
        self.categorical_columns = categorical_columns
        self.categorical_encoding = categorical_encoding
        self.max_categories = max_categories
        self.unseen_categories = unseen_categories
        self.timestamp_columns = timestamp_columns
        self.cyclic_timestamps = cyclic_timestamps
        self.missing = missing
        self.scaling = scaling
        self.num_workers = num_workers
        self.compare_with = compare_with
        self.max_drift, self.like = max_drift, like
        self.check_constants()

    def resolve(self, run: JobRun) -> dict[str, Any]:
        """Return the manifest of the previous period, to compare with, and the path of a champion, to prepare files like its."""
        return {**self._previous(run), **self._champion(run)}

    def _champion(self, run: JobRun) -> dict[str, Any]:
        if not names_champion(self.like):
            return {}
        champion = run.champions(self.like).present()
        if champion is None:
            self.log.info("There is no champion of %r yet: the files are prepared as this task's arguments say.", self.like)
            return {"like": None}
        self.log.info("Preparing as the files of the champion of %r were: %s.", self.like, champion.model_path)
        return {"like": champion.model_path, **PreprocessSpec.fitting_options()}

    def _previous(self, run: JobRun) -> dict[str, Any]:
        """Return the manifest to compare with, if that is the previous period's; an empty path if there is none."""
        if self.compare_with != PREVIOUS:
            return {}
        previous = current_before(storage_for(run.root), run.task_path, run.period)
        if previous is not None:
            self.log.info("Comparing with the period %s: %s", previous.period, previous.manifest_path)
        return {"compare_with": "" if previous is None else previous.manifest_path}

    def check_inputs(self, run: JobRun) -> dict[str, str]:
        """Return a fingerprint per file; raise SpecError or DataError if files, columns or `compare_with` are missing."""
        spec = run.spec
        assert isinstance(spec, PreprocessSpec)
        if spec.compare_with:
            require_artifact(spec.compare_with, PreprocessSpec, "compare_with", run.root)
        elif spec.compare_with is not None:
            unlimited = "" if spec.max_drift is None else f", and max_drift={spec.max_drift:g} limits nothing"
            self.log.warning("compare_with: there is no earlier result, so the drift of this run is not measured%s.", unlimited)
        if spec.like is not None:
            spec.check_like()
            model = require_artifact(spec.like, TrainSpec, "like", run.root)
            spec = spec.with_dialect(model.details_as(TrainDetails).dialect)
        files = self.inspect_input(spec)
        if files.headers and spec.like is None:
            feature_columns(spec, files.columns)
        return fingerprints(files)
