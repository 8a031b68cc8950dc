"""The bases of the operators that read files: any, or rows for a trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.files import listing
from airflow_provider_distkeras.contract.files.csv_header import InputFiles, inspect
from airflow_provider_distkeras.contract.specs.train import TrainDetails
from airflow_provider_distkeras.hooks.storage import UnreadableHere, storage_for
from airflow_provider_distkeras.operators.base import DistKerasBaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import XComArg

    from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
    from airflow_provider_distkeras.contract.specs import InputSpec, RowsSpec


class InputOperator(DistKerasBaseOperator):
    """Base of the operators that read files. The parameters from `delimiter` to `number_formats` are about CSV alone.

    :param input_path: Files (CSV also as .gz, .bz2 or .zst): a path, a glob, a directory, or a list of them. (templated)
    :param input_format: How the files are written, such as "csv" or "parquet"; by default as they are named. (templated)
    :param delimiter: The separator of fields; by default a comma. (templated)
    :param quote: What surrounds a field that holds delimiters, by default double quotes; "" where nothing does. (templated)
    :param encoding: The files' encoding, by Python's name; by default "utf-8". (templated)
    :param null_values: Texts that stand for a missing value, beside an empty field. (templated)
    :param multiline: Whether quoted fields hold line breaks; a file is then read by one task. (templated)
    :param timestamp_formats: How times are written, beside ISO 8601, as for `strptime`. (templated)
    :param escape: What stands before a quote inside quotes, such as a backslash, where quotes are not doubled. (templated)
    :param header: Whether the first line names the columns. With False they are named "0", "1" and so on; by default it does, and
        one that looks like values is an error. (templated)
    :param comment: What a line begins with that is no row, such as "#"; by default, every line is one. (templated)
    :param skip_lines: How many lines precede the header, or the first row of files without one. (templated)
    :param skip_footer: How many lines follow the last row, empty ones aside; a file is then read by one task. (templated)
    :param decimal: What stands before the fraction of a number: by default a point, or a comma. (templated)
    :param thousands: What may stand between every three digits of a number, such as a comma; by default nothing. (templated)
    :param number_formats: What numbers are written with, per column by its name in the files: "currency" ($1,200.00), "percent"
        (12 % is 0.12) or "suffix" (19M). (templated)
    :param bad_lines: How lines that do not fit are treated: "fail", "quarantine" or "drop". (templated)
    :param max_bad_lines: The share of such lines above which the task fails anyway. (templated)
    """

    template_fields = (
        *DistKerasBaseOperator.template_fields, "input_path", "input_format", "delimiter", "quote", "encoding", "null_values",
        "multiline", "timestamp_formats", "escape", "header", "comment", "skip_lines", "skip_footer", "decimal",
        "thousands", "number_formats", "bad_lines", "max_bad_lines",
    )  # fmt: skip
    template_fields_renderers = {  # noqa: RUF012
        **DistKerasBaseOperator.template_fields_renderers, "number_formats": "json",
    }  # fmt: skip

    def __init__(
        self,
        *,
        input_path: str | list[str] | XComArg,
        input_format: str | None = None,
        delimiter: str | None = None,
        quote: str | None = None,
        encoding: str | None = None,
        null_values: list[str] | str | None = None,
        multiline: bool | str | None = None,
        timestamp_formats: list[str] | str | None = None,
        escape: str | None = None,
        header: bool | str | None = None,
        comment: str | None = None,
        skip_lines: int | str | None = None,
        skip_footer: int | str | None = None,
        decimal: str | None = None,
        thousands: str | None = None,
        number_formats: dict[str, str] | str | None = None,
        bad_lines: str = "fail",
        max_bad_lines: float | str = 0.01,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_path = input_path
        self.input_format = input_format
        self.delimiter = delimiter
        self.quote = quote
        self.encoding = encoding
        self.null_values = null_values
        self.multiline = multiline
        self.timestamp_formats = timestamp_formats
        self.escape = escape
        self.header = header
        self.comment = comment
        self.skip_lines = skip_lines
        self.skip_footer = skip_footer
        self.decimal, self.thousands, self.number_formats = decimal, thousands, number_formats
        self.bad_lines = bad_lines
        self.max_bad_lines = max_bad_lines

    def inspect_input(self, spec: InputSpec) -> InputFiles:
        """Return the files, CSV with its headers; none if Airflow cannot reach them, so that only the job checks them.

        Raises:
            DataError: There is no file, or the header of one is unusable.
        """
        try:
            storage = storage_for(spec.input_path[0])
        except UnreadableHere as error:
            self.log.warning("The input is checked by the job only. %s", error)
            return InputFiles({})
        if spec.format_in(storage) == "csv":
            return inspect(storage, spec.input_path, spec.dialect, left_out=spec.left_out)
        return InputFiles(listing.find(storage, spec.input_path))


class RowsInputOperator(InputOperator):
    """Base of the operators that read rows for a trained model.

    Takes the parameters of `InputOperator` beside these. Those from `delimiter` to `number_formats` are by default as they were
    for the files that the model was trained on.

    :param max_quarantined: The share of rows, from 0 to 1, that a model may be unable to score; with more, the task fails.
        (templated)
    :param batch_size: Rows per call of the network. (templated)
    """

    template_fields = (*InputOperator.template_fields, "max_quarantined", "batch_size")

    def __init__(
        self,
        *,
        max_quarantined: float | str = 0.1,
        batch_size: int | str = 4096,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_quarantined = max_quarantined
        self.batch_size = batch_size

    def inspect_rows(self, spec: RowsSpec, model: Manifest) -> InputFiles:
        """Return the files, as `inspect_input` does, read in the dialect of a train task's model where the spec says nothing."""
        return self.inspect_input(spec.with_dialect(model.details_as(TrainDetails).dialect))
