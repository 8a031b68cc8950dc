"""Layout of `features`: which column fills which positions, and the spread of its values, from a profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.feature_layout import INDEX, FeatureLayout, FeatureSpan
from airflow_provider_distkeras.contract.files.csv_dialect import length_of
from airflow_provider_distkeras.contract.files.csv_header import refuse_twins
from airflow_provider_distkeras.contract.specs.categorical_encoding import ONE_HOT
from airflow_provider_distkeras.ml.data.category_numbers import CategoryNumbers
from airflow_provider_distkeras.ml.data.feature_plan import FeaturePlan, PlannedColumn
from airflow_provider_distkeras.ml.data.profile import NumberProfile, Profile, TextProfile


@dataclass(frozen=True)
class FeatureSpread:
    """Spread over the rows of one of the numbers in `features`; the default is one that no scaling changes."""

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
    """

    column: str
    kind: str
    assembled: str
    spreads: tuple[FeatureSpread, ...]
    fill: str | None = None
    filled_with: float | None = None
    categories: tuple[str, ...] = ()
    numbers: CategoryNumbers | None = None

    @property
    def is_fitted(self) -> bool:
        """Whether it depends on the rows to train on, scaling apart."""
        return bool(self.fill) or self.kind == "category" or (self.numbers is not None and self.numbers.is_fitted)


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
            inputs += [_number(feature.name, column.missing, profiles[feature.name]) for feature in column.calendar]
        elif isinstance(profile, TextProfile):
            inputs.append(_category(column, profile, plan.max_categories))
        elif length is not None:
            inputs.append(FeatureInput(name, "array", name, (_spread(profile, None),) * length))
        else:
            inputs.append(_number(name, column.missing, profile))
        if column.missing == "indicator":
            inputs.append(FeatureInput(name, "indicator", f"{name}__missing", (_share(profile.missing, profile.rows),)))
    made = [each.assembled for each in inputs if each.assembled != each.column]
    made += [index_of(each.column) for each in inputs if each.kind in ("category", INDEX)]
    made += [feature.name for feature in plan.calendar]
    refuse_twins([*plan.kinds, *made], "among those that preprocessing makes")
    return inputs


def index_of(name: str) -> str:
    """Return the name of the column that holds a category's number."""
    return f"{name}__index"


def layout_of(inputs: Sequence[FeatureInput]) -> FeatureLayout:
    """Return the position of every input in `features`."""
    spans, start = [], 0
    for each in inputs:
        stop = start + len(each.spreads)
        spans.append(FeatureSpan(each.column, each.kind, start, stop, each.fill, each.numbers.size if each.numbers else None))
        start = stop
    return FeatureLayout(tuple(spans))


def _number(name: str, policy: str | float, profile: Profile) -> FeatureInput:
    """Return the input of a column of numbers, whose missing values a statistic may stand for."""
    assert isinstance(profile, NumberProfile)
    if policy not in ("mean", "median", "indicator"):
        return FeatureInput(name, "number", name, (_spread(profile, policy if isinstance(policy, float) else None),))
    fill = "median" if policy == "median" else "mean"
    value = profile.quantiles((0.5,))[0] if fill == "median" else profile.mean
    return FeatureInput(name, "number", f"{name}__filled", (_spread(profile, value),), fill, value)


def _category(column: PlannedColumn, profile: TextProfile, most: int) -> FeatureInput:
    """Return the input of a column of categories: a feature for each, in alphabetical order, or one feature of numbers.

    If there are more than `most` features, the categories' hashes share that many.
    """
    name, policy, counts = column.name, column.missing, dict(profile.counts)
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
    return FeatureInput(name, "category", f"{name}__onehot", shares, categories=categories)


def _spread(profile: Profile, fill: float | None) -> FeatureSpread:
    """Return the spread of numbers whose missing values are filled in."""
    assert isinstance(profile, NumberProfile)
    if fill is None or not profile.missing:
        return FeatureSpread(profile.mean, profile.std, profile.minimum, profile.maximum)
    mean, std = profile.filled(fill)
    return FeatureSpread(mean, std, min(profile.minimum, fill), max(profile.maximum, fill))


def _share(count: int, rows: int) -> FeatureSpread:
    """Return the spread of a number that is 1 in `count` rows and 0 in the others."""
    share = count / rows
    std = sqrt(rows * share * (1 - share) / (rows - 1)) if rows > 1 else 0.0
    return FeatureSpread(share, std, float(count == rows), float(count > 0))
