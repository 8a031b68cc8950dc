"""A model and rows to predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract import parquet
from airflow_provider_distkeras.contract.header import InputFiles
from airflow_provider_distkeras.contract.specs import ScoreSpec
from airflow_provider_distkeras.operators.base import require_artifact
from airflow_provider_distkeras.operators.csv_input import CsvInputOperator
from airflow_provider_distkeras.operators.storage import UnreadableHere, fingerprints, storage_for

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import XComArg

    from airflow_provider_distkeras.contract.specs import Spec


class DistKerasScoreOperator(CsvInputOperator):
    """Score rows with a trained model: raw CSV or Parquet files, which it prepares as in training, or a prepared dataset.

    Returns `predictions_path`, `rows`, `quarantined_rows`, `metrics` and `manifest_path`. Takes the parameters of
    `CsvInputOperator` beside these.

    :param model_path: The `model_path` that a train task returned. (templated)
    :param input_path: CSV or Parquet files, or the `dataset_path` that a preprocess task returned: a path, a glob, a directory,
        or a list of them. (templated)
    :param input_format: "csv" or "parquet"; by default as the files are named. (templated)
    :param output_format: "parquet", "csv" or "json". (templated)
    :param key_columns: Columns of the input to keep; by default all. (templated)
    :param output_columns: What to tell about a row: "prediction", "probability", "label" (the class as text), "raw", "std" (of
        an ensemble's networks); by default what the model has, less "label" and "raw". (templated)
    :param partition_by: Columns whose values name the folders of the output, such as day=2026-01-01/. (templated)
    :param max_quarantined: The share of rows, from 0 to 1, that may be quarantined; with more, the task fails. (templated)
    :param batch_size: Rows per call of the network. (templated)
    """

    spec_class = ScoreSpec
    path_fields = ("model_path", "input_path")
    template_fields = (
        *CsvInputOperator.template_fields, "model_path", "input_format", "output_format", "key_columns", "output_columns",
        "partition_by", "max_quarantined", "batch_size",
    )  # fmt: skip

    def __init__(
        self,
        *,
        model_path: str | XComArg,
        input_format: str | None = None,
        output_format: str = "parquet",
        key_columns: list[str] | str | None = None,
        output_columns: list[str] | str | None = None,
        partition_by: list[str] | str | None = None,
        max_quarantined: float | str = 0.1,
        batch_size: int | str = 4096,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_path = model_path
        self.input_format = input_format
        self.output_format = output_format
        self.key_columns = key_columns
        self.output_columns = output_columns
        self.partition_by = partition_by
        self.max_quarantined = max_quarantined
        self.batch_size = batch_size

    def check_inputs(self, spec: Spec) -> dict[str, str]:
        """The model must have been committed, and the files must be there."""
        assert isinstance(spec, ScoreSpec)
        require_artifact(spec.model_path, "train", "model_path")
        files = self._find_parquet(spec) or self.inspect_csv(spec)
        return fingerprints(files) if files else {}

    def _find_parquet(self, spec: ScoreSpec) -> InputFiles | None:
        """The Parquet files, without a look inside; None if the input is no Parquet, or Airflow cannot reach it."""
        try:
            storage = storage_for(spec.input_path[0])
        except UnreadableHere:
            return None
        if spec.input_format == "csv" or (spec.input_format is None and not parquet.is_parquet(storage, spec.input_path)):
            return None
        return InputFiles(parquet.find(storage, spec.input_path), {}, {}, {})
