"""CSV files to a prepared dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.header import ColumnPlan
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.operators.base import DistKerasBaseOperator
from airflow_provider_distkeras.operators.storage import fingerprints

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import XComArg

    from airflow_provider_distkeras.contract.specs import Spec


class DistKerasPreprocessOperator(DistKerasBaseOperator):
    """Prepare CSV files for training and fit the pipeline that prepared them.

    Returns `dataset_path`, `pipeline_path`, `rows`, `rejected_rows`, `feature_columns` and `manifest_path`.

    :param input_path: CSV files: a path, a glob, a directory, or a list of them. (templated)
    :param columns_renamed: New name per column of the files. (templated)
    :param excluded_columns: Columns to leave out, by their name in the files. (templated)
    :param label_col: The column to predict, by its new name. (templated)
    :param categorical_columns: Columns to one-hot encode, by their new names. (templated)
    :param missing: What to do about missing values: "fail", "mean" or "drop". (templated)
    :param scaling: "standard", "minmax" or None. (templated)
    :param num_workers: Partitions of the prepared dataset. (templated)
    :param delimiter: What separates the fields of a line. (templated)
    """

    spec_class = PreprocessSpec
    path_fields = ("input_path",)
    template_fields = (
        *DistKerasBaseOperator.template_fields,
        "input_path", "columns_renamed", "excluded_columns", "label_col", "categorical_columns", "missing", "scaling",
        "num_workers", "delimiter",
    )  # fmt: skip
    template_fields_renderers = {**DistKerasBaseOperator.template_fields_renderers, "columns_renamed": "json"}  # noqa: RUF012

    def __init__(
        self,
        *,
        input_path: str | list[str] | XComArg,
        columns_renamed: dict[str, str] | str | None = None,
        excluded_columns: list[str] | str | None = None,
        label_col: str = "label",
        categorical_columns: list[str] | str | None = None,
        missing: str = "fail",
        scaling: str | None = None,
        num_workers: int | str | None = None,
        delimiter: str = ",",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_path = input_path
        self.columns_renamed = columns_renamed
        self.excluded_columns = excluded_columns
        self.label_col = label_col
        self.categorical_columns = categorical_columns
        self.missing = missing
        self.scaling = scaling
        self.num_workers = num_workers
        self.delimiter = delimiter

    def check_inputs(self, spec: Spec) -> dict[str, str]:
        """The files must be there, with the columns that are asked for."""
        assert isinstance(spec, PreprocessSpec)
        files = self.inspect_csv(spec.input_path, spec.delimiter)
        if files is None:
            return {}
        plan = ColumnPlan(spec.columns_renamed, spec.excluded_columns, spec.label_col, spec.categorical_columns)
        plan.check(files.columns)
        return fingerprints(files)
