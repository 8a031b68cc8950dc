"""How numbers are scaled: all by one word, or by a word per column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.fields import choice, mapping_of
from airflow_provider_distkeras.contract.params.choices import SCALINGS

STANDARD, MINMAX, ROBUST, LOG, QUANTILE, NONE = SCALINGS
#: The key of a dict by column whose word is that of all columns that it does not name.
DEFAULT = "default"
#: The scalings that shift to a middle of 0 and divide by a spread.
STANDARDIZING = frozenset({STANDARD, ROBUST, LOG})

_word = choice("scaling", SCALINGS)


@dataclass(frozen=True)
class FeatureScaling:
    """The scaling of each column; None for one that stays as it is.

    Attributes:
        default: the scaling of columns that are not named.
        columns: the scaling per column that is.
    """

    default: str | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, value: str | Mapping[str, str] | None) -> Self:
        """Return the scaling that `check_scaling` has taken."""
        words = value if isinstance(value, Mapping) else {DEFAULT: value}
        columns = {name: None if word == NONE else word for name, word in words.items()}
        return cls(columns.pop(DEFAULT, None), columns)

    @property
    def words(self) -> set[str | None]:
        """The scalings of any columns."""
        return {self.default, *self.columns.values()}

    @property
    def standardizes(self) -> bool:
        """Whether it brings any column to a middle of 0 and a spread of 1."""
        return not self.words.isdisjoint(STANDARDIZING)

    def of_feature(self, column: str, kind: str) -> str | None:
        """Return the scaling of a feature of a column; `kind` is one of `contract.feature_layout.FeatureSpan`.

        Those that are 0 or 1, of a category or of what is missing, have no quartiles or logarithm worth the name: of them only
        the default's mean, deviation or extremes are taken. Hashes and indices stay as they are.
        """
        if kind in ("number", "array"):
            return self.columns.get(column, self.default)
        return self.default if kind in ("category", "indicator") and self.default in (STANDARD, MINMAX) else None

    def check(self, others: Mapping[str, str]) -> None:
        """Raise SpecError for a column that is named and is no number; `others` says what such columns are."""
        for column in self.columns:
            if column in others:
                raise SpecError(
                    f"scaling[{column!r}]: expected a column of numbers that is a feature, and it is {others[column]}: leave it "
                    "out of scaling."
                )


def check_scaling(name: str, value: Any) -> str | dict[str, str] | None:
    """Check for a word, or a dict of words by column."""
    if isinstance(value, Mapping):
        return mapping_of(_word)(name, {column: NONE if word is None else word for column, word in value.items()})
    return None if value in (None, NONE) else _word(name, value)
