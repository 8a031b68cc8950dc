"""A model and CSV files to predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.specs import ScoreSpec
from airflow_provider_distkeras.operators.base import require_artifact
from airflow_provider_distkeras.operators.csv_input import CsvInputOperator
from airflow_provider_distkeras.operators.storage import fingerprints

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import XComArg

    from airflow_provider_distkeras.contract.specs import Spec


class DistKerasScoreOperator(CsvInputOperator):
    """Score raw CSV files with a trained model, which brings its own preprocessing.

    Returns `predictions_path`, `rows`, `metrics` and `manifest_path`. Takes the parameters of `CsvInputOperator` beside these.

    :param model_path: The `model_path` that a train task returned. (templated)
    :param output_format: "parquet" or "csv". (templated)
    :param batch_size: Rows per call of the network. (templated)
    """

    spec_class = ScoreSpec
    path_fields = ("model_path", "input_path")
    template_fields = (
        *CsvInputOperator.template_fields, "model_path", "output_format", "batch_size",
    )  # fmt: skip

    def __init__(
        self,
        *,
        model_path: str | XComArg,
        output_format: str = "parquet",
        batch_size: int | str = 4096,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_path = model_path
        self.output_format = output_format
        self.batch_size = batch_size

    def check_inputs(self, spec: Spec) -> dict[str, str]:
        """The model must have been committed, and the files must be there."""
        assert isinstance(spec, ScoreSpec)
        require_artifact(spec.model_path, "train", "model_path")
        files = self.inspect_csv(spec)
        return fingerprints(files) if files else {}
