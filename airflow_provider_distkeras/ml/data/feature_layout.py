"""What lies where in `features`, and how it is spread over the rows: decided from a survey, before any stage is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from airflow_provider_distkeras.contract.files.csv_dialect import length_of
from airflow_provider_distkeras.contract.files.csv_header import refuse_twins
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.ml.data.calendar_features import CalendarFeature, features_of
from airflow_provider_distkeras.ml.data.profile import NumberProfile, Profile, TextProfile


@dataclass(frozen=True)
class FeatureSpread:
    """How one of the numbers in `features` is spread over the rows; by default so that no scaling changes it."""

    mean: float = 0.0
    std: float = 1.0
    minimum: float = 0.0
    maximum: float = 1.0


@dataclass(frozen=True)
class FeatureInput:
    """A column that is assembled into `features`.

    Attributes:
        column: what it is made from; kind: number, indicator, category, hashed or array.
        assembled: the column with its values as they are assembled.
        spreads: of each of its numbers.
        fill: the statistic that stands for missing values, mean or median, if one does; filled_with: its value.
        categories: the texts that have a number each, for a category.
    """

    column: str
    kind: str
    assembled: str
    spreads: tuple[FeatureSpread, ...]
    fill: str | None = None
    filled_with: float | None = None
    categories: tuple[str, ...] = ()


def inputs_of(
    spec: PreprocessSpec, features: Sequence[str], kinds: Mapping[str, str], profiles: Mapping[str, Profile]
) -> list[FeatureInput]:
    """The columns to assemble for these features, in order. Raises DataError if one that is made has the name of another."""
    found: list[FeatureInput] = []
    for name in features:
        policy = spec.missing_policy(name)
        if name in spec.timestamp_columns:
            found += [_number(feature.name, policy, profiles) for feature in calendar_features(spec, [name])]
        elif isinstance(profiles[name], TextProfile):
            found.append(_category(name, profiles[name], spec.max_categories, policy))
        elif length_of(kinds[name]) is not None:
            found.append(FeatureInput(name, "array", name, (_spread(profiles[name], None),) * (length_of(kinds[name]) or 0)))
        else:
            found.append(_number(name, policy, profiles))
        if policy == "indicator":
            profile = profiles[name]
            found.append(FeatureInput(name, "indicator", f"{name}__missing", (_share(profile.missing, profile.rows),)))
    made = [each.assembled for each in found if each.assembled != each.column]
    made += [index_of(each.column) for each in found if each.kind == "category"]
    made += [each.name for each in calendar_features(spec, features)]
    refuse_twins([*features, *spec.roles.values(), *made], "among those that preprocessing makes")
    return found


def index_of(name: str) -> str:
    """The column that holds a category's number."""
    return f"{name}__index"


def calendar_features(spec: PreprocessSpec, features: Sequence[str]) -> list[CalendarFeature]:
    """What is taken from those of these columns that hold times."""
    said = {name: spec.timestamp_columns[name] for name in features if name in spec.timestamp_columns}
    return [each for name, parts in said.items() for each in features_of(name, parts, cyclic=spec.cyclic_timestamps)]


def describe(inputs: Sequence[FeatureInput]) -> list[dict[str, object]]:
    """As plain JSON values: what lies where in `features`."""
    told, start = [], 0
    for each in inputs:
        stop = start + len(each.spreads)
        told.append({"column": each.column, "kind": each.kind, "start": start, "stop": stop, "fill": each.fill})
        start = stop
    return told


def _number(name: str, policy: str | float, profiles: Mapping[str, Profile]) -> FeatureInput:
    profile = profiles[name]
    assert isinstance(profile, NumberProfile)
    if policy not in ("mean", "median", "indicator"):
        return FeatureInput(name, "number", name, (_spread(profile, policy if isinstance(policy, float) else None),))
    fill = "median" if policy == "median" else "mean"
    value = profile.quantiles((0.5,))[0] if fill == "median" else profile.mean
    return FeatureInput(name, "number", f"{name}__filled", (_spread(profile, value),), fill, value)


def _category(name: str, profile: Profile, most: int, policy: str | float) -> FeatureInput:
    """A number per category, in alphabetical order; or so many for all of them, by their hashes, if there are more."""
    assert isinstance(profile, TextProfile)
    counts = dict(profile.counts)
    if isinstance(policy, str) and policy not in ("fail", "drop", "mean", "median", "indicator") and profile.missing:
        counts[policy] = counts.get(policy, 0) + profile.missing
    if len(counts) > most or profile.others:
        return FeatureInput(name, "hashed", f"{name}__hashed", (FeatureSpread(),) * most)
    categories = tuple(sorted(counts))
    shares = tuple(_share(counts[category], profile.rows) for category in categories)
    return FeatureInput(name, "category", f"{name}__onehot", shares, categories=categories)


def _spread(profile: Profile, fill: float | None) -> FeatureSpread:
    """Of a number, its missing values filled in."""
    assert isinstance(profile, NumberProfile)
    if fill is None or not profile.missing:
        return FeatureSpread(profile.mean, profile.std, profile.minimum, profile.maximum)
    mean, std = profile.filled(fill)
    return FeatureSpread(mean, std, min(profile.minimum, fill), max(profile.maximum, fill))


def _share(count: int, rows: int) -> FeatureSpread:
    """Of a number that is 1 in `count` rows and 0 in the others."""
    share = count / rows
    std = sqrt(rows * share * (1 - share) / (rows - 1)) if rows > 1 else 0.0
    return FeatureSpread(share, std, float(count == rows), float(count > 0))
