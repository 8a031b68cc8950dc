"""The layout of `features`: which column fills which positions, as manifests and the column's own metadata hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from airflow_provider_distkeras.contract.errors import ArtifactError

#: Up to here every whole number has a float32 of its own, as which features are stored.
LARGEST_WHOLE = 2**24
#: The kind of a position that holds a category's whole number, for an Embedding.
INDEX = "index"
#: The member of the column's metadata that holds the layout; Spark keeps metadata in Parquet.
_METADATA = "distkeras_layout"
_VERSION = 1


@dataclass(frozen=True)
class FeatureSpan:
    """Positions in `features` that came from one column.

    Attributes:
        column: The column.
        kind: number, indicator, category (one-hot), hashed (one-hot), array or index.
        start: The first position.
        stop: The position behind the last.
        fill: The statistic in place of a number's missing values, mean or median, if one is.
        size: How many values an index may have, 0 among them; None for other kinds.
        scaling: One of `contract.params.choices.SCALINGS`; None if the values are as they were.
    """

    column: str
    kind: str
    start: int
    stop: int
    fill: str | None = None
    size: int | None = None
    scaling: str | None = None

    @property
    def positions(self) -> slice:
        """The positions."""
        return slice(self.start, self.stop)

    def to_dict(self) -> dict[str, Any]:
        """Return the span as plain JSON values; `size` only of an index, `scaling` only of what is scaled."""
        return {name: value for name, value in asdict(self).items() if value is not None or name not in ("size", "scaling")}


@dataclass(frozen=True)
class FeatureLayout:
    """What fills which positions of `features`.

    Attributes:
        spans: the columns' positions, one after the other from 0 on. A column may have several.
    """

    spans: tuple[FeatureSpan, ...]

    @classmethod
    def of(cls, spans: Sequence[Mapping[str, Any]]) -> Self:
        """Return the layout that `to_list` gave.

        Raises:
            ArtifactError: the spans do not follow each other.
        """
        names = FeatureSpan.__dataclass_fields__
        layout = cls(tuple(FeatureSpan(**{name: value for name, value in span.items() if name in names}) for span in spans))
        ends = [0, *(span.stop for span in layout.spans)]
        if [span.start for span in layout.spans] != ends[:-1]:
            raise ArtifactError(f"layout: expected spans that follow each other from 0, received {spans!r}.")
        return layout

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, Any]) -> Self | None:
        """Return the layout in the metadata of a column of features; None if they hold none.

        Raises:
            ArtifactError: a newer version of this package wrote it.
        """
        if _METADATA not in metadata:
            return None
        content = metadata[_METADATA]
        if content["version"] > _VERSION:
            raise ArtifactError(
                f"The layout of features has version {content['version']}, this package reads up to {_VERSION}: upgrade "
                "airflow-provider-distkeras where the data is read."
            )
        return cls.of(content["spans"])

    @property
    def size(self) -> int:
        """Number of features of a row."""
        return self.spans[-1].stop if self.spans else 0

    @property
    def sizes(self) -> dict[str, int]:
        """How many values an index may have, 0 among them, per column that is one: the `input_dim` of its Embedding."""
        return {span.column: span.size for span in self.spans if span.kind == INDEX and span.size is not None}

    @property
    def columns(self) -> list[str]:
        """The columns, in the order of their first positions."""
        return list(dict.fromkeys(span.column for span in self.spans))

    def positions(self, *columns: str) -> list[int]:
        """Return the positions that came from these columns, in order."""
        return [at for span in self.spans if span.column in columns for at in range(span.start, span.stop)]

    def index_position(self, column: str) -> int:
        """Return the position of a column's index."""
        return next(span.start for span in self.spans if span.column == column and span.kind == INDEX)

    def to_list(self) -> list[dict[str, Any]]:
        """Return the spans as plain JSON values."""
        return [span.to_dict() for span in self.spans]

    def to_metadata(self) -> dict[str, Any]:
        """Return the layout as metadata of a column."""
        return {_METADATA: {"version": _VERSION, "spans": self.to_list()}}
