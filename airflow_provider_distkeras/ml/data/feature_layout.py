"""Layout of `features`: which column fills which positions, and the spread of its values, from a profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.feature_layout import INDEX, FeatureLayout, FeatureSpan
from airflow_provider_distkeras.contract.files.csv_dialect import length_of
from airflow_provider_distkeras.contract.files.csv_header import refuse_twins
from airflow_provider_distkeras.contract.specs.categorical_encoding import ONE_HOT
from airflow_provider_distkeras.contract.specs.feature_scaling import LOG, MINMAX, QUANTILE, ROBUST
from airflow_provider_distkeras.ml.data.category_numbers import CategoryNumbers
from airflow_provider_distkeras.ml.data.derived_features import log_of, signed_log
from airflow_provider_distkeras.ml.data.feature_plan import FeaturePlan, PlannedColumn
from airflow_provider_distkeras.ml.data.feature_statistics import MEAN_RANK, QUARTILES, RANKED, RankMap
from airflow_provider_distkeras.ml.data.profile import NumberProfile, Profile, TextProfile


@dataclass(frozen=True)
class FeatureSpread:
    """Spread over the rows of one of the numbers in `features`; the default is one that no scaling changes.

    Of robust scaling, mean and std are the median and the distance between the quartiles; of a logarithm, its own.
    """

    mean: float = 0.0
    std: float = 1.0
    minimum: float = 0.0
    maximum: float = 1.0


@dataclass(frozen=True)
class FeatureInput:
    """A column that is assembled into `features`.

    Attributes:
        column: The column that it is made from.
        kind: number, indicator, category, hashed, array or index.
        assembled: The column that is assembled.
        spreads: The spread of each of its numbers.
        fill: The statistic that stands for missing values, mean or median, if one does.
        filled_with: The value of that statistic.
        categories: The texts that have a number each, of a category.
        numbers: The numbers of the categories, of an index.
        scaling: How it is scaled; None if it is not.
        ranks: The ranks of numbers that are scaled so.
    """

    column: str
    kind: str
    assembled: str
    spreads: tuple[FeatureSpread, ...]
    fill: str | None = None
    filled_with: float | None = None
    categories: tuple[str, ...] = ()
    numbers: CategoryNumbers | None = None
    scaling: str | None = None
    ranks: RankMap | None = None

    @property
    def is_fitted(self) -> bool:
        """Whether it depends on the rows to train on."""
        is_number = self.numbers is not None and self.numbers.is_fitted
        return bool(self.fill or self.scaling) or self.kind == "category" or is_number

    @property
    def unfilled(self) -> str:
        """The column of numbers that may lack some: of logarithms or ranks, or that which they are made from."""
        return {LOG: log_of(self.column), QUANTILE: f"{self.column}__rank"}.get(self.scaling or "", self.column)


def inputs_of(plan: FeaturePlan, profiles: Mapping[str, Profile]) -> list[FeatureInput]:
    """Return the columns to assemble, in order.

    Args:
        plan: The plan.
        profiles: Profile per feature and per calendar feature.

    Raises:
        DataError: A column that preprocessing makes has the name of another, or one to be indexed has too many categories.
    """
    inputs: list[FeatureInput] = []
    for column in plan.features:
        name, length, profile = column.name, length_of(column.kind), profiles[column.name]
        if column.calendar:
            inputs += [_number(feature.name, column, profiles) for feature in column.calendar]
        elif isinstance(profile, TextProfile):
            inputs.append(_category(column, profile, plan))
        elif length is not None:
            spreads = (_spread(profile, None, column.scaling),) * length
            inputs.append(FeatureInput(name, "array", name, spreads, scaling=column.scaling))
        else:
            inputs.append(_number(name, column, profiles))
        if column.missing == "indicator":
            share, scaling = _share(profile.missing, profile.rows), plan.scaling.of_feature(name, "indicator")
            inputs.append(FeatureInput(name, "indicator", f"{name}__missing", (share,), scaling=scaling))
    made = [each.assembled for each in inputs if each.assembled not in (each.column, each.unfilled)]
    made += [each.unfilled for each in inputs if each.kind == "number" and each.unfilled != each.column]
    made += [bucket_of(each.column) for each in inputs if each.ranks]
    made += [index_of(each.column) for each in inputs if each.kind in ("category", INDEX)]
    made += [feature.name for feature in plan.calendar]
    refuse_twins([*plan.kinds, *made], "among those that preprocessing makes")
    return inputs


def index_of(name: str) -> str:
    """Return the name of the column that holds a category's number."""
    return f"{name}__index"


def bucket_of(name: str) -> str:
    """Return the name of the column that holds between which quantiles a number lies."""
    return f"{name}__bucket"


def layout_of(inputs: Sequence[FeatureInput]) -> FeatureLayout:
    """Return the position of every input in `features`."""
    spans, start = [], 0
    for each in inputs:
        stop = start + len(each.spreads)
        size = each.numbers.size if each.numbers else None
        spans.append(FeatureSpan(each.column, each.kind, start, stop, each.fill, size, each.scaling))
        start = stop
    return FeatureLayout(tuple(spans))


def _number(name: str, column: PlannedColumn, profiles: Mapping[str, Profile]) -> FeatureInput:
    """Return the input of a column of numbers, whose missing values a statistic of its logarithms or ranks may stand for."""
    scaling, policy = column.scaling, column.missing
    profile = _profile(name, scaling, profiles)
    if isinstance(policy, float):  # which is filled in before anything else is done
        profile = profile.filled(float(signed_log(np.array(policy))) if scaling == LOG else policy)
    ranks = RankMap.of(_quantiles(profile, RANKED)) if scaling == QUANTILE else None
    made = FeatureInput(name, "number", name, (), scaling=scaling, ranks=ranks)
    if policy not in ("mean", "median", "indicator"):
        return replace(made, assembled=made.unfilled, spreads=(_spread(profile, None, scaling),))
    fill = "median" if policy == "median" else "mean"
    value = profile.quantiles((0.5,))[0] if fill == "median" else profile.mean
    if ranks:
        value = float(ranks.apply(np.array(value))) if fill == "median" else MEAN_RANK
    return replace(made, assembled=f"{name}__filled", spreads=(_spread(profile, value, scaling),), fill=fill, filled_with=value)


def _category(column: PlannedColumn, profile: TextProfile, plan: FeaturePlan) -> FeatureInput:
    """Return the input of a column of categories: a feature for each, in alphabetical order, or one feature of numbers.

    If there are more than `max_categories` features, the categories' hashes share that many.
    """
    name, policy, counts, most = column.name, column.missing, dict(profile.counts), plan.max_categories
    if isinstance(policy, str) and policy not in ("fail", "drop", "mean", "median", "indicator") and profile.missing:
        counts[policy] = counts.get(policy, 0) + profile.missing
    if column.encoding is not None and column.encoding.kind != ONE_HOT:
        if profile.others and column.encoding.kind == INDEX:
            raise DataError(
                f"categorical_encoding: {name!r} has more than {profile.limit:,} different values, too many for 'index'. "
                f"Number them by a hash, such as {{{name!r}: {{'hash': {10 * profile.limit}}}}}."
            )
        numbers = CategoryNumbers.of(name, index_of(name), column.encoding, counts)
        return FeatureInput(name, INDEX, f"{name}__number", (FeatureSpread(),), numbers=numbers)
    if len(counts) > most or profile.others:
        return FeatureInput(name, "hashed", f"{name}__hashed", (FeatureSpread(),) * most)
    categories = tuple(sorted(counts))
    shares = tuple(_share(counts[category], profile.rows) for category in categories)
    scaling = plan.scaling.of_feature(name, "category")
    return FeatureInput(name, "category", f"{name}__onehot", shares, categories=categories, scaling=scaling)


def scaled(values: NDArray[np.float64], name: str, scaling: str | None, profiles: Mapping[str, Profile]) -> NDArray[np.float64]:
    """Return numbers of a column as its scaling makes them."""
    profile = _profile(name, scaling, profiles)
    if scaling == QUANTILE:
        return RankMap.of(_quantiles(profile, RANKED)).apply(values)
    spread = _spread(profile, None, scaling)
    if scaling == MINMAX:
        return (values - spread.minimum) / (spread.maximum - spread.minimum)
    return values if scaling is None else ((signed_log(values) if scaling == LOG else values) - spread.mean) / spread.std


def _profile(name: str, scaling: str | None, profiles: Mapping[str, Profile]) -> NumberProfile:
    """Return the profile of a column of numbers, or of their logarithms if those are scaled."""
    profile = profiles[log_of(name) if scaling == LOG else name]
    assert isinstance(profile, NumberProfile)
    return profile


def _spread(profile: Profile, fill: float | None, scaling: str | None) -> FeatureSpread:
    """Return the spread of numbers whose missing values are filled in; quartiles are of those that are not missing."""
    assert isinstance(profile, NumberProfile)
    filled = profile if fill is None else profile.filled(fill)
    if scaling == ROBUST:
        low, middle, high = profile.quantiles(QUARTILES)
        return FeatureSpread(middle, high - low or filled.std, filled.minimum, filled.maximum)
    return FeatureSpread(filled.mean, filled.std, filled.minimum, filled.maximum)


def _quantiles(profile: NumberProfile, at: tuple[float, ...]) -> NDArray[np.float64]:
    """Return quantiles from the sample, and the least and the largest value of all from 0 to 1."""
    return np.array([profile.minimum, *profile.quantiles(at[1:-1]), profile.maximum])


def _share(count: int, rows: int) -> FeatureSpread:
    """Return the spread of a number that is 1 in `count` rows and 0 in the others."""
    share = count / rows
    std = sqrt(rows * share * (1 - share) / (rows - 1)) if rows > 1 else 0.0
    return FeatureSpread(share, std, float(count == rows), float(count > 0))
