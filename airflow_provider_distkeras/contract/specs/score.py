"""The spec of a score job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import choice, list_of, optional, text
from airflow_provider_distkeras.contract.params.choices import OUTPUT_FORMATS, SCORES
from airflow_provider_distkeras.contract.specs.base import JobDetails, spec_field
from airflow_provider_distkeras.contract.specs.input import RowsSpec
from airflow_provider_distkeras.contract.specs.paths import uri


@dataclass(frozen=True, kw_only=True)
class ScoreDetails(JobDetails):
    """What a score job's manifest holds beside its result.

    Attributes:
        quarantine_path: where the rows are that the model cannot score; None if there are none.
        bad_lines: lines that do not fit the files' header.
        quarantined: rows in the quarantine per reason, the most frequent reasons first.
        unknown_labels: rows whose label is no class of the model; the metrics count their predictions as wrong.
        unknown_label_counts: rows per such label, the most frequent ones.
    """

    quarantine_path: str | None = None
    bad_lines: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    unknown_labels: int = 0
    unknown_label_counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ScoreSpec(RowsSpec):
    """A model and rows, raw or prepared, to predictions."""

    kind: ClassVar[str] = "score"
    result_fields: ClassVar[tuple[str, ...]] = ("predictions_path", "model_path", "rows", "quarantined_rows", "metrics")
    main_artifact: ClassVar[str] = "predictions_path"
    artifacts: ClassVar[Mapping[str, str]] = {"predictions_path": "predictions", "quarantine_path": "quarantine"}
    details_class: ClassVar[type[JobDetails]] = ScoreDetails

    model_path: str = spec_field(uri, "The model_path a train task returned.")
    output_format: str = spec_field(choice("output format", OUTPUT_FORMATS), "parquet, csv or json.", "parquet")
    key_columns: list[str] | None = spec_field(optional(list_of(text)), "Columns of the input to keep; by default all.", None)
    output_columns: list[str] | None = spec_field(
        optional(list_of(choice("output column", SCORES), minimum=1)),
        "The scores of a row; by default prediction, for classes probability, for a regression by an ensemble std.",
        None,
    )
    partition_by: list[str] = spec_field(list_of(text), "Columns whose values name the folders of the output.", [])

    def check_whole(self) -> None:
        """Check that the columns that partition the output are written."""
        super().check_whole()
        for name in self.partition_by:
            if self.key_columns is not None and name not in self.key_columns:
                raise SpecError(f"partition_by: {name!r} is not among key_columns {self.key_columns!r}: add it there.")
