"""What the operators share that read rows for a trained model."""

from __future__ import annotations

from typing import Any

from airflow_provider_distkeras.contract.files import parquet
from airflow_provider_distkeras.contract.files.csv_header import InputFiles
from airflow_provider_distkeras.contract.specs import RowsSpec
from airflow_provider_distkeras.operators.csv_input import CsvInputOperator
from airflow_provider_distkeras.operators.storage import UnreadableHere, fingerprints, storage_for


class RowsInputOperator(CsvInputOperator):
    """Base of the operators that read rows for a trained model. Takes the parameters of `CsvInputOperator` beside these.

    :param input_format: "csv" or "parquet"; by default as the files are named. (templated)
    :param max_quarantined: The share of rows, from 0 to 1, that a model may be unable to score; with more, the task fails.
        (templated)
    :param batch_size: Rows per call of the network. (templated)
    """

    template_fields = (*CsvInputOperator.template_fields, "input_format", "max_quarantined", "batch_size")

    def __init__(
        self,
        *,
        input_format: str | None = None,
        max_quarantined: float | str = 0.1,
        batch_size: int | str = 4096,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_format = input_format
        self.max_quarantined = max_quarantined
        self.batch_size = batch_size

    def inspect_rows(self, spec: RowsSpec) -> dict[str, str]:
        """Check that the files are there; a fingerprint of each, or none where only the job can reach them."""
        files = self._find_parquet(spec) or self.inspect_csv(spec)
        return fingerprints(files) if files else {}

    def _find_parquet(self, spec: RowsSpec) -> InputFiles | None:
        """The Parquet files, without a look inside; None if the input is no Parquet, or Airflow cannot reach it."""
        try:
            storage = storage_for(spec.input_path[0])
        except UnreadableHere:
            return None
        if spec.input_format == "csv" or (spec.input_format is None and not parquet.is_parquet(storage, spec.input_path)):
            return None
        return InputFiles(parquet.find(storage, spec.input_path), {}, {}, {})
