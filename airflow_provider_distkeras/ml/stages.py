"""Spark ML's own stages, from typed columns to `features`, fitted from what a survey found, without passes of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from pyspark.ml import Model, Transformer
from pyspark.ml.feature import (
    Imputer,
    MinMaxScaler,
    OneHotEncoder,
    SQLTransformer,
    StandardScaler,
    StringIndexerModel,
    VectorAssembler,
)
from pyspark.ml.linalg import Vectors
from pyspark.sql import DataFrame, SparkSession

from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.ml.profile import NumberProfile, Profile, TextProfile
from airflow_provider_distkeras.ml.reading import Survey, quoted

FEATURES = "features"


@dataclass(frozen=True)
class Spread:
    """How one of the numbers in `features` is spread over the rows."""

    mean: float
    std: float
    minimum: float
    maximum: float


def index_of(name: str) -> str:
    """The column that holds a category's number."""
    return f"{name}__index"


def fit(spark: SparkSession, spec: PreprocessSpec, features: Sequence[str], found: Survey) -> list[Transformer]:
    """The fitted stages; a temporary column is named after what made it."""
    profiles = found.profiles
    categorical = [name for name in features if name in spec.categorical_columns]
    policies = {name: spec.missing_policy(name) for name in features if name not in categorical}
    told = [name for name, policy in policies.items() if policy == "indicator"]
    filled = {name: f"{name}__filled" for name, policy in policies.items() if policy in ("mean", "median", "indicator")}
    stages: list[Transformer] = []
    if spec.label_col in spec.categorical_columns:
        labels = sorted(profiles[spec.label_col].texts.to_pylist())
        indexed = index_of(spec.label_col)
        stages.append(StringIndexerModel.from_labels(labels, spec.label_col, indexed, handleInvalid="keep"))
    if told:
        stages.append(_indicators(told))
    if filled:
        stages.append(_imputer(spark, filled, {name: _fill(profiles[name], policies[name]) for name in filled}))
    if categorical:
        stages += _encoders(spark, categorical, profiles)
    inputs: list[str] = []
    spreads: list[Spread] = []
    for name in features:
        profile = profiles[name]
        if isinstance(profile, TextProfile):
            inputs.append(f"{name}__onehot")
            spreads += [_share(profile.counts[label], profile.rows) for label in sorted(profile.counts)]
            continue
        inputs.append(filled.get(name, name))
        spreads.append(_spread(profile, _fill(profile, policies[name])))
        if name in told:
            inputs.append(f"{name}__missing")
            spreads.append(_share(profile.missing, profile.rows))
    assembled = f"{FEATURES}__unscaled" if spec.scaling else FEATURES
    stages.append(VectorAssembler(inputCols=inputs, outputCol=assembled, handleInvalid="error"))
    if spec.scaling:
        stages.append(_scaler(spark, spec.scaling, assembled, spreads))
    return stages


def _fill(profile: Profile, policy: object) -> float:
    """What stands for a missing number."""
    assert isinstance(profile, NumberProfile)
    if isinstance(policy, float):
        return policy
    return profile.quantiles((0.5,))[0] if policy == "median" else profile.mean


def _encoders(spark: SparkSession, names: Sequence[str], profiles: dict[str, Profile]) -> list[Transformer]:
    """Numbers categories in alphabetical order, those missing or unseen by the last number, and encodes all but that one."""
    labels = [sorted(profiles[name].texts.to_pylist()) for name in names]
    indexed, encoded = [index_of(name) for name in names], [f"{name}__onehot" for name in names]
    indexer = StringIndexerModel.from_arrays_of_labels(labels, list(names), indexed, handleInvalid="keep")
    encoder = OneHotEncoder(inputCols=indexed, outputCols=encoded, dropLast=True)
    one_row = spark.createDataFrame([[""] * len(names)], ", ".join(f"{quoted(name)} string" for name in names))
    return [indexer, encoder.fit(indexer.transform(one_row))]


def _indicators(names: Sequence[str]) -> SQLTransformer:
    told = ", ".join(f"CAST({quoted(n)} IS NULL OR isnan({quoted(n)}) AS DOUBLE) AS {quoted(f'{n}__missing')}" for n in names)
    return SQLTransformer(statement=f"SELECT *, {told} FROM __THIS__")


def _imputer(spark: SparkSession, filled: dict[str, str], values: dict[str, float]) -> Model:
    """Fills numbers in; fitted on the one row that has the values to fill in."""
    imputer = Imputer(strategy="mean", inputCols=list(filled), outputCols=list(filled.values()))
    return imputer.fit(_frame(spark, list(filled), [[values[name] for name in filled]]))


def _scaler(spark: SparkSession, scaling: str, column: str, spreads: Sequence[Spread]) -> Model:
    """Scales; fitted on two rows of the same mean and standard deviation, or of the same extremes, as all rows."""
    if scaling == "minmax":
        rows = [[s.minimum for s in spreads], [s.maximum for s in spreads]]
        return MinMaxScaler(inputCol=column, outputCol=FEATURES).fit(_vectors(spark, column, rows))
    rows = [[s.mean + sign * s.std / sqrt(2) for s in spreads] for sign in (-1, 1)]
    return StandardScaler(inputCol=column, outputCol=FEATURES, withMean=True, withStd=True).fit(_vectors(spark, column, rows))


def _spread(profile: Profile, fill: float) -> Spread:
    """Of a number, its missing values filled in."""
    assert isinstance(profile, NumberProfile)
    mean, std = profile.filled(fill)
    values = [profile.minimum, profile.maximum, *([fill] if profile.missing else [])]
    return Spread(mean, std, min(values), max(values))


def _share(count: int, rows: int) -> Spread:
    """Of a number that is 1 in `count` rows and 0 in the others."""
    share = count / rows
    std = sqrt(rows * share * (1 - share) / (rows - 1)) if rows > 1 else 0.0
    return Spread(share, std, float(count == rows), float(count > 0))


def _frame(spark: SparkSession, names: Sequence[str], rows: list[list[float]]) -> DataFrame:
    return spark.createDataFrame([[float(v) for v in row] for row in rows], ", ".join(f"{quoted(n)} double" for n in names))


def _vectors(spark: SparkSession, name: str, rows: list[list[float]]) -> DataFrame:
    return spark.createDataFrame([(Vectors.dense(np.asarray(row)),) for row in rows], [name])
