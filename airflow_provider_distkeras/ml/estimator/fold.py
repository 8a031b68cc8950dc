"""Folds: the parts of the rows that a fit trains on, and those that it is evaluated on."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

#: The column of a row's part: a number from 0, or one of the two below.
PART = "__distkeras_part"
#: The part of the rows that every fit validates on, and the part of the rows that no fit of a search reads.
VALIDATION, TEST = -1, -2


@dataclass(frozen=True)
class Fold:
    """One fold of a cross validation.

    Attributes:
        training: the parts that a fit trains on.
        held_out: the parts that it is evaluated on.
    """

    training: tuple[int, ...]
    held_out: tuple[int, ...]

    def training_rows(self, data: DataFrame) -> DataFrame:
        """Return the rows of the training parts and the validation rows."""
        return data.where(F.col(PART).isin(*self.training, VALIDATION))

    def held_out_rows(self, data: DataFrame) -> DataFrame:
        """Return the rows of the held-out parts."""
        return data.where(F.col(PART).isin(*self.held_out))
