"""A fold: which parts of the rows a fit trains on, and which part it is measured on."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

#: The column that tells a row's part: a number from 0, or one of the two below.
PART = "__distkeras_part"
#: Rows that every fit validates on, and rows that no fit of a search sees.
VALIDATION, TEST = -1, -2


@dataclass(frozen=True)
class Fold:
    """One fit of a cross validation: the parts it trains on, and the one it is measured on."""

    training: tuple[int, ...]
    held_out: int

    def training_rows(self, data: DataFrame) -> DataFrame:
        """The rows to train on, and those that every fit validates on."""
        return data.where(F.col(PART).isin(*self.training, VALIDATION))

    def held_out_rows(self, data: DataFrame) -> DataFrame:
        """The rows to measure on."""
        return data.where(F.col(PART) == self.held_out)
