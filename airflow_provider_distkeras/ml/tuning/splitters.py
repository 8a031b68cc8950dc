"""Splitters assign every row to a part, and make folds of the parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import DatetimeType, IntegralType, MapType, NumericType, VariantType

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.ml.estimator.fold import PART, TEST, VALIDATION, Fold
from airflow_provider_distkeras.spark.columns import check_column

_BUCKETS = 1_000_000
_HASH, _RANK, _SHARE, _IS_TEST = (
    "__distkeras_hash",
    "__distkeras_rank",
    "__distkeras_share",
    "__distkeras_is_test",
)


@dataclass(frozen=True)
class Splitter:
    """Assigns rows to parts by their values and a seed alone: the same parts in every run, however rows are partitioned.

    Equal rows share a part, so that no fit is evaluated on a row that it was trained on.

    Attributes:
        num_folds: the number of folds; 1 for one split, evaluated on `test_share` of the rows, else on the validation rows.
        seed: of the random assignment.
        fold_col: a column of fold numbers, from 0.
        group_col: a column whose equal values stay together.
        time_col: a column to order by; a fold trains on rows before those that it is evaluated on. With `group_col`, whole groups
            are ordered, by their first row.
        gap: how long before the rows that a fold is evaluated on its training rows end: seconds, or numbers of `time_col`.
        stratified: the label's column; every part gets the same share of each label.
        test_share: the share of the rows to set aside; by time the last ones, by group whole groups.
        validation_col: a boolean column that marks rows every fit validates on.
    """

    num_folds: int
    seed: int = 0
    fold_col: str | None = None
    group_col: str | None = None
    time_col: str | None = None
    stratified: str | None = None
    test_share: float = 0.0
    validation_col: str | None = None
    gap: float = 0.0

    def __post_init__(self) -> None:
        names = ("fold_col", "group_col", "time_col", "stratified")
        columns = {name: getattr(self, name) for name in names if getattr(self, name)}
        if len(columns) > 1 and set(columns) != {"group_col", "time_col"}:
            raise SpecError(f"Folds: expected one way to make them, received {columns!r}. Leave all but one of them out.")
        if self.gap and not self.time_col:
            raise SpecError(f"fold_gap: {self.gap:g} needs a column to order rows by. Set time_col, or leave fold_gap out.")

    @property
    def folds(self) -> list[Fold]:
        """The folds; by time, each trains on one part more than the last. None if nothing is set aside for a single one."""
        if self.num_folds == 1:
            if self.test_share:
                return [Fold(self._before(TEST), (TEST,))]
            return [Fold(self._before(VALIDATION), (VALIDATION,))] if self.validation_col else []
        held_out = range(1 if self.time_col else 0, self._num_parts)
        return [Fold(self._before(part) if self.time_col else self._others(part), self._pieces_of(part)) for part in held_out]

    @property
    def test_fold(self) -> Fold | None:
        """The fold that trains on all parts and is evaluated on rows set aside for none but it; None if none are."""
        return Fold(self._before(TEST), (TEST,)) if self.test_share and self.num_folds > 1 else None

    @property
    def _num_parts(self) -> int:
        """The parts that are not set aside; by time, there is one before the first that is held out."""
        return self.num_folds + bool(self.time_col)

    def _pieces_of(self, part: int) -> tuple[int, ...]:
        """Return the numbers in PART of a part: with a gap, its end has a number of its own."""
        return (2 * part, 2 * part + 1) if self.gap else (part,)

    def _before(self, part: int) -> tuple[int, ...]:
        """Return the numbers in PART that training before a part, TEST or VALIDATION may see."""
        parts = range(self._num_parts if part < 0 else part)
        numbers = tuple(number for earlier in parts for number in self._pieces_of(earlier))
        return numbers[:-1] if self.gap and part != VALIDATION else numbers

    def _others(self, part: int) -> tuple[int, ...]:
        return tuple(other for other in range(self._num_parts) if other != part)

    def assign(self, data: DataFrame) -> DataFrame:
        """Return the data with a column PART.

        Raises:
            DataError: a column is missing, or of the wrong type, or has values that rows cannot be split by.
        """
        for name in (self.fold_col, self.group_col, self.time_col, self.stratified, self.validation_col):
            if name:
                check_column(data, name, "folds")
        if self.group_col and not self.time_col:
            assigned = self._assign_by_group(data, self.group_col)
        elif self.stratified:
            assigned = self._assign_by_label(data, self.stratified)
        elif self.time_col:
            assigned = self._assign_by_time(data, self.time_col)
        else:
            number = (
                self._checked_fold_column(data, self.fold_col)
                if self.fold_col
                else F.pmod(self._hash(data, "fold"), self.num_folds)
            )
            is_test = self._hash_share(data) < self.test_share if self.test_share else F.lit(False)
            assigned = data.withColumn(PART, F.when(is_test, TEST).otherwise(number))
        if not self.validation_col:
            return assigned.withColumn(PART, F.col(PART).cast("int"))
        is_validation = F.coalesce(F.col(self.validation_col), F.lit(False))
        return assigned.withColumn(PART, F.when(is_validation, VALIDATION).otherwise(F.col(PART)).cast("int"))

    def check_sizes(self, rows: dict[int, int]) -> None:
        """Raise DataError if a fold has no rows to train on, or none to be evaluated on.

        Args:
            rows: the number of rows of each part.
        """
        for number, fold in enumerate(self.folds):
            training, held_out = (sum(rows.get(part, 0) for part in parts) for parts in (fold.training, fold.held_out))
            if not training or not held_out:
                raise DataError(
                    f"Fold {number} of {self.num_folds} has {training} rows to train on "
                    f"and {held_out} to be measured on; expected some of both. "
                    f"{self._fix}"
                )
        if self.test_share and not rows.get(TEST):
            raise DataError(f"No row was set aside for the test: set a larger share than {self.test_share:g}, or use more data.")

    @property
    def _fix(self) -> str:
        column = self.group_col or self.time_col or self.fold_col
        few = f" They are split by {column!r}, which may have too few different values." if column else ""
        return f"Set fewer folds, or use more data.{few}"

    def _hash(self, data: DataFrame, salt: str, columns: Sequence[str] = ()) -> Column:
        names = columns or [f.name for f in data.schema if not isinstance(f.dataType, (MapType, VariantType))]
        return F.xxhash64(F.lit(salt), F.lit(self.seed), *[F.col(f"`{name}`") for name in names])

    def _hash_share(self, data: DataFrame) -> Column:
        """Return a number from 0 to 1 by a row's hash."""
        return F.pmod(self._hash(data, "test"), F.lit(_BUCKETS)) / _BUCKETS

    def _checked_fold_column(self, data: DataFrame, name: str) -> Column:
        """Return the user's column of fold numbers. Raise DataError unless all are integers in range."""
        if not isinstance(data.schema[name].dataType, IntegralType):
            kind = data.schema[name].dataType.simpleString()
            raise DataError(f"Column {name!r}: expected fold numbers as integers, received {kind}. Cast it to int first.")
        rows = data if self.validation_col is None else data.where(~F.coalesce(F.col(self.validation_col), F.lit(False)))
        in_range = F.col(name).between(0, self.num_folds - 1)
        others = rows.where(~F.coalesce(in_range, F.lit(False)))
        count, least, most, missing = others.agg(
            F.count(F.lit(1)), F.min(name), F.max(name), F.count_if(F.col(name).isNull())
        ).collect()[0]
        if count:
            values = f"{missing} of them null" if least is None else f"from {least} to {most}, {missing} of them null"
            raise DataError(
                f"Column {name!r}: expected fold numbers from 0 to {self.num_folds - 1}, received others in {count} rows: "
                f"{values}. Number the folds from 0 in every row, or set the number of folds to how many there are."
            )
        return F.col(name)

    def _assign_by_label(self, data: DataFrame, label: str) -> DataFrame:
        """Assign the rows of each label to parts in turn, in the order of their hashes, beginning at a part of its own."""
        same_label = Window.partitionBy(label)
        hashed = data.withColumn(_HASH, self._hash(data, "fold"))
        rank = F.row_number().over(same_label.orderBy(_HASH)) - 1
        ranked = hashed.withColumn(_RANK, rank).withColumn(_SHARE, rank / F.count(F.lit(1)).over(same_label))
        first = F.pmod(F.xxhash64(F.lit(self.seed), F.col(label)), F.lit(self.num_folds))
        part = F.when(F.col(_SHARE) < self.test_share, TEST).otherwise((F.col(_RANK) + first) % self.num_folds)
        return ranked.withColumn(PART, part).drop(_HASH, _RANK, _SHARE)

    def _assign_by_group(self, data: DataFrame, group: str) -> DataFrame:
        """Set groups aside for the test by their hashes, and assign the others to parts in turn, the largest first."""
        key = f"{group}__distkeras_group"
        groups = data.groupBy(F.col(group).alias(key)).agg(F.count(F.lit(1)).alias(_RANK))
        groups = groups.withColumn(_HASH, self._hash(groups, "fold", [key]))
        share = F.percent_rank().over(Window.orderBy(_HASH))
        groups = groups.withColumn(_SHARE, share).withColumn(_IS_TEST, F.col(_SHARE) < self.test_share)
        turn = F.row_number().over(Window.partitionBy(_IS_TEST).orderBy(F.desc(_RANK), _HASH)) - 1
        groups = groups.select(key, F.when(F.col(_IS_TEST), TEST).otherwise(turn % self.num_folds).alias(PART))
        return data.join(groups, F.col(group).eqNullSafe(F.col(key))).drop(key)

    def _assign_by_time(self, data: DataFrame, time: str) -> DataFrame:
        """Assign rows in the order of time to one part more than folds, as equal as may be; equal times stay together."""
        kind = data.schema[time].dataType
        if not isinstance(kind, (NumericType, DatetimeType)):
            raise DataError(
                f"Column {time!r}: expected times or numbers to order by, received {kind.simpleString()}. "
                "Cast it first, such as with to_timestamp."
            )
        moment = F.col(time).cast("timestamp").cast("double") if isinstance(kind, DatetimeType) else F.col(time).cast("double")
        if self.group_col:
            data = data.withColumn(_RANK, F.min(moment).over(Window.partitionBy(self.group_col)))
            moment = F.col(_RANK)
        parts = self._num_parts
        shares = [(1 - self.test_share) * part / parts for part in range(1, parts + bool(self.test_share))]
        missing = F.count_if(moment.isNull() | F.isnan(moment)).alias("missing")
        counts = data.agg(F.percentile_approx(moment, shares, 100_000).alias("bounds"), missing).collect()[0]
        if counts["missing"]:
            raise DataError(
                f"Column {time!r}: expected a time or a number in every row, received none in {counts['missing']}. "
                "Drop these rows first."
            )
        bounds = counts["bounds"]
        self._check_gap(time, bounds)
        cuts = [cut for bound in bounds for cut in ((bound - self.gap, bound) if self.gap else (bound,))]
        part = sum(((moment > cut).cast("int") for cut in cuts), F.lit(0))
        last = len(cuts) if self.test_share else -1
        return data.withColumn(PART, F.when(part == last, TEST).otherwise(part)).drop(_RANK)

    def _check_gap(self, time: str, bounds: Sequence[float]) -> None:
        """Raise DataError unless the gap is shorter than every part between two bounds."""
        shortest = min((after - before for before, after in pairwise(bounds)), default=math.inf)
        if self.gap and self.gap >= shortest:
            raise DataError(
                f"fold_gap: {self.gap:g} is as long as a part of the rows by {time!r}, the shortest of which is {shortest:g}. "
                "Set a smaller fold_gap, or fewer folds."
            )


def count_parts(data: DataFrame) -> dict[int, int]:
    """Return the number of rows of each part."""
    return {row[PART]: row["count"] for row in data.groupBy(PART).count().collect()}
