"""The bases of the operators that read files: CSV files, or rows for a trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.files import parquet
from airflow_provider_distkeras.contract.files.csv_header import InputFiles, inspect
from airflow_provider_distkeras.contract.specs import RowsSpec
from airflow_provider_distkeras.hooks.storage import UnreadableHere, fingerprints, storage_for
from airflow_provider_distkeras.operators.base import DistKerasBaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import XComArg

    from airflow_provider_distkeras.contract.specs import CsvSpec


class CsvInputOperator(DistKerasBaseOperator):
    """Base of the operators that read CSV files.

    :param input_path: CSV files (also .gz, .bz2 or .zst): a path, a glob, a directory, or a list of them. (templated)
    :param delimiter: The separator of fields. (templated)
    :param quote: What surrounds a field that holds delimiters; "" where nothing does. (templated)
    :param encoding: The files' encoding, by Python's name. (templated)
    :param null_values: Texts that stand for a missing value, beside an empty field. (templated)
    :param multiline: Whether quoted fields hold line breaks; a file is then read by one task. (templated)
    :param timestamp_formats: How times are written, beside ISO 8601, as for `strptime`. (templated)
    :param bad_lines: How lines that do not fit are treated: "fail", "quarantine" or "drop". (templated)
    :param max_bad_lines: The share of such lines above which the task fails anyway. (templated)
    """

    csv_fields = (
        "input_path", "delimiter", "quote", "encoding", "null_values", "multiline", "timestamp_formats",
        "bad_lines", "max_bad_lines",
    )  # fmt: skip
    template_fields = (*DistKerasBaseOperator.template_fields, *csv_fields)

    def __init__(
        self,
        *,
        input_path: str | list[str] | XComArg,
        delimiter: str = ",",
        quote: str = '"',
        encoding: str = "utf-8",
        null_values: list[str] | str | None = None,
        multiline: bool | str = False,
        timestamp_formats: list[str] | str | None = None,
        bad_lines: str = "fail",
        max_bad_lines: float | str = 0.01,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_path = input_path
        self.delimiter = delimiter
        self.quote = quote
        self.encoding = encoding
        self.null_values = null_values
        self.multiline = multiline
        self.timestamp_formats = timestamp_formats
        self.bad_lines = bad_lines
        self.max_bad_lines = max_bad_lines

    def inspect_csv(self, spec: CsvSpec) -> InputFiles | None:
        """Return the headers and sizes of the CSV files; None if Airflow cannot reach them, so that only the job checks them."""
        try:
            return inspect(storage_for(spec.input_path[0]), spec.input_path, spec.dialect)
        except UnreadableHere as error:
            self.log.warning("The input is checked by the job only. %s", error)
            return None


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
        """Return a fingerprint per file, none if only the job can reach them; raise DataError if there is no file."""
        files = self._find_parquet(spec) or self.inspect_csv(spec)
        return fingerprints(files) if files else {}

    def _find_parquet(self, spec: RowsSpec) -> InputFiles | None:
        """Return the Parquet files, without a look inside; None if the input is no Parquet, or Airflow cannot reach it."""
        try:
            storage = storage_for(spec.input_path[0])
        except UnreadableHere:
            return None
        if spec.input_format == "csv" or (spec.input_format is None and not parquet.is_parquet(storage, spec.input_path)):
            return None
        return InputFiles(parquet.find(storage, spec.input_path), {}, {}, {})
