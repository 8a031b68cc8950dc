"""The bases of the specs of jobs that read files."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import boolean, choice, integer, list_of, mapping_of, number, optional, text
from airflow_provider_distkeras.contract.files.csv_dialect import Dialect
from airflow_provider_distkeras.contract.files.listing import format_of, within
from airflow_provider_distkeras.contract.files.number_format import NUMBER_FORMATS
from airflow_provider_distkeras.contract.files.storage import Storage
from airflow_provider_distkeras.contract.files.time_format import check_time_format
from airflow_provider_distkeras.contract.params.choices import BAD_LINES, INPUT_FORMATS
from airflow_provider_distkeras.contract.specs.base import Spec, spec_field
from airflow_provider_distkeras.contract.specs.paths import uris


def _share(name: str, value: Any) -> float:
    share: float = number(0.0)(name, value)
    if share > 1:
        raise SpecError(f"{name}: expected a share from 0 to 1, received {value!r}.")
    return share


def _character(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) != 1 or not value.isascii() or value in "\r\n\0\x1a":
        raise SpecError(f"{name}: expected one ASCII character, no line break, 0x00 or 0x1a, received {value!r}.")
    return value


def _character_or_none(name: str, value: Any) -> str:
    return "" if value == "" else _character(name, value)


def _comment(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.isascii() or value != value.strip():
        raise SpecError(f"{name}: expected ASCII characters without spaces around them, such as #, received {value!r}.")
    return value


def _encoding(name: str, value: Any) -> str:
    try:
        line_end = "\n".encode(text(name, value))
    except (LookupError, UnicodeError) as error:
        raise SpecError(f"{name}: expected the name of an encoding, such as utf-8 or cp1252, received {value!r}.") from error
    if len(line_end) == 1 and line_end != b"\n":
        raise SpecError(f"{name}: {value!r} ends lines by another byte than ASCII does: convert the files to UTF-8 first.")
    return codecs.lookup(value).name.removesuffix("-sig")


def _time_format(name: str, value: Any) -> str:
    time_format = text(name, value)
    check_time_format(name, time_format)
    return time_format


@dataclass(frozen=True, kw_only=True)
class InputSpec(Spec):
    """Base of the specs of jobs that read files. An option of the files' dialect that is None is as `Dialect` has it."""

    added_fields: ClassVar[tuple[str, ...]] = (
        "escape",
        "header",
        "comment",
        "skip_lines",
        "skip_footer",
        "decimal",
        "thousands",
        "number_formats",
    )

    input_path: list[str] = spec_field(uris, "Files: a path, a glob, a directory, or a list of them.")
    input_format: str | None = spec_field(
        optional(choice("input format", INPUT_FORMATS)), "How the files are written; by default as they are named.", None
    )
    delimiter: str | None = spec_field(optional(_character), "What separates the fields of a line.", None)
    quote: str | None = spec_field(
        optional(_character_or_none), "What surrounds a field with delimiters, doubled inside; empty where nothing does.", None
    )
    encoding: str | None = spec_field(optional(_encoding), "The files' encoding, by Python's name.", None)
    null_values: list[str] | None = spec_field(
        optional(list_of(text)), "Texts that stand for a missing value, beside an empty field.", None
    )
    multiline: bool | None = spec_field(
        optional(boolean), "Whether quoted fields hold line breaks; a file is then read by one task.", None
    )
    timestamp_formats: list[str] | None = spec_field(
        optional(list_of(_time_format)), "How times are written beside ISO 8601, as for strptime.", None
    )
    escape: str | None = spec_field(
        optional(_character_or_none), "What stands before a quote inside quotes; empty where quotes are doubled.", None
    )
    header: bool | None = spec_field(optional(boolean), "Whether the first line names the columns; see docs/preprocessing.", None)
    comment: str | None = spec_field(
        optional(_comment), "What a line begins with that is no row, such as #; empty where every line is one.", None
    )
    skip_lines: int | None = spec_field(
        optional(integer(0)), "How many lines precede the header, or the first row without one.", None
    )
    skip_footer: int | None = spec_field(
        optional(integer(0)), "How many lines follow the last row, empty ones aside; a file is then read by one task.", None
    )
    decimal: str | None = spec_field(
        optional(choice("decimal", (".", ","))), "What stands before the fraction of a number.", None
    )
    thousands: str | None = spec_field(
        optional(choice("thousands", (",", ".", " ", "'", "_", ""))), "What may stand between every three digits.", None
    )
    number_formats: dict[str, str] | None = spec_field(
        optional(mapping_of(choice("number format", NUMBER_FORMATS))),
        "What numbers are written with, per column by its name in the files: currency, percent or suffix (19M).",
        None,
    )
    bad_lines: str = spec_field(choice("policy", BAD_LINES), "Lines that do not fit: fail, quarantine or drop.", "fail")
    max_bad_lines: float = spec_field(_share, "The share of such lines above which the task fails anyway.", 0.01)

    @property
    def dialect_options(self) -> dict[str, Any]:
        """The options of the files' dialect that are set."""
        values = {option.name: getattr(self, option.name) for option in fields(Dialect)}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def dialect(self) -> Dialect:
        """The dialect of the files."""
        return Dialect.of(self.dialect_options)

    @property
    def left_out(self) -> Collection[str] | None:
        """The columns that are not used, by their names in the files; None where the model alone knows."""
        return None

    def with_dialect(self, options: Mapping[str, Any]) -> Self:
        """Return the spec with these options of the dialect where it has none itself. Raise SpecError if they contradict."""
        spec = replace(self, **{**options, **self.dialect_options})
        spec.check_whole()
        return spec

    def format_in(self, storage: Storage) -> str:
        """Return the format of the files in a storage, one of `INPUT_FORMATS`: as it is set, else by the first file's name."""
        return self.input_format or format_of(within(storage, self.input_path[0].rstrip("/")))

    def check_whole(self) -> None:
        """Check that delimiter, quote and escape differ."""
        dialect = self.dialect
        if dialect.delimiter == dialect.quote:
            raise SpecError(f"quote: expected another character than the delimiter, received {dialect.quote!r} for both.")
        if self.escape and self.escape in (dialect.delimiter, dialect.quote):
            raise SpecError(
                f"escape: expected another character than delimiter and quote, received {self.escape!r}. Leave it out where "
                "quotes are doubled."
            )
        if dialect.decimal == dialect.thousands:
            raise SpecError(f"thousands: expected another character than decimal, received {dialect.decimal!r} for both.")
        if dialect.quote is None and dialect.delimiter in (dialect.decimal, dialect.thousands):
            raise SpecError(
                "delimiter: expected another character than those in numbers where nothing is quoted, received "
                f"{dialect.delimiter!r} for both."
            )
        if self.escape and not dialect.quote:
            raise SpecError("escape: expected a quote to escape, received quote=''. Leave escape out.")


@dataclass(frozen=True, kw_only=True)
class RowsSpec(InputSpec):
    """Base of the specs of jobs that read rows for a trained model, in the dialect of its training if not told otherwise."""

    input_path: list[str] = spec_field(uris, "Files, or a dataset_path: a path, a glob, a directory, or a list of them.")
    max_quarantined: float = spec_field(_share, "The largest share of rows that a model may be unable to score.", 0.1)
    batch_size: int = spec_field(integer(1), "Rows per call of the network.", 4096)
