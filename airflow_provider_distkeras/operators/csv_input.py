"""What the operators share that read CSV files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.files.csv_header import InputFiles, inspect
from airflow_provider_distkeras.operators.base import DistKerasBaseOperator
from airflow_provider_distkeras.operators.storage import UnreadableHere, storage_for

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import XComArg

    from airflow_provider_distkeras.contract.specs import CsvSpec


class CsvInputOperator(DistKerasBaseOperator):
    """Base of the operators that read CSV files.

    :param input_path: CSV files (also .gz, .bz2 or .zst): a path, a glob, a directory, or a list of them. (templated)
    :param delimiter: What separates the fields of a line. (templated)
    :param quote: What surrounds a field that holds delimiters; "" where nothing does. (templated)
    :param encoding: The files' encoding, by Python's name. (templated)
    :param null_values: Texts that stand for a missing value, beside an empty field. (templated)
    :param multiline: Whether quoted fields hold line breaks; a file is then read by one task. (templated)
    :param timestamp_formats: How times are written, beside ISO 8601, as for `strptime`. (templated)
    :param bad_lines: What to do about lines that do not fit: "fail", "quarantine" or "drop". (templated)
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
        """Look at the CSV files, or leave it to the job where Airflow cannot reach them."""
        try:
            return inspect(storage_for(spec.input_path[0]), spec.input_path, spec.dialect)
        except UnreadableHere as error:
            self.log.warning("The input is checked by the job only. %s", error)
            return None
