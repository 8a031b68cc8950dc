"""Scaling per column, through the real reader and Spark's stages, against NumPy."""

import numpy as np
import pytest
from pyspark.ml import PipelineModel

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.feature_layout import FeatureLayout
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.ml import preparation_of, process_csv
from airflow_provider_distkeras.ml.data.feature_statistics import RankMap
from airflow_provider_distkeras.spark.columns import is_standardized
from airflow_provider_distkeras.spark.saved_stages import load_stages
from tests.ml.prepared import quantile, ranks

ROWS = 400
NAMES = [*"abcdez"]
SCALING = {"a": "log", "b": "robust", "c": "quantile", "d": "minmax", "e": "none", "z": "robust"}


@pytest.fixture(scope="module")
def values():
    """Columns: skewed with both signs, with outliers, with ties, even, as they are, and one number in most rows."""
    random = np.random.default_rng(0)
    return np.column_stack(
        [
            random.lognormal(2, 2, ROWS) * random.choice([-1, 1], ROWS),
            np.where(np.arange(ROWS) % 50 == 0, 1e6, random.normal(5, 2, ROWS)),
            np.where(np.arange(ROWS) % 3 == 0, 0.0, random.exponential(10, ROWS)),
            random.uniform(-3, 9, ROWS),
            random.normal(size=ROWS),
            np.where(np.arange(ROWS) % 8 == 0, 4.0, 1.0),
        ]
    ).round(4)


@pytest.fixture(scope="module")
def table(values, tmp_path_factory):
    """The values as a file."""
    path = tmp_path_factory.mktemp("table") / "table.csv"
    path.write_text(csv(values))
    return str(path)


def csv(values, names=NAMES):
    lines = [",".join("" if np.isnan(value) else repr(float(value)) for value in row) for row in values]
    return "\n".join([",".join([*names, "label"]), *(f"{line},{number}" for number, line in enumerate(lines))]) + "\n"


def features(data):
    return np.array([row.features.toArray() for row in data.select("label", "features").orderBy("label").collect()])


def signed_log(column):
    return np.sign(column) * np.log1p(np.abs(column))


def standardized(column):
    return (column - column.mean()) / column.std(ddof=1)


def robust(column):
    """As scikit-learn's RobustScaler, but by the deviation where the quartiles are equal."""
    low, middle, high = quantile(column, [0.25, 0.5, 0.75])
    return (column - middle) / (high - low or column.std(ddof=1))


def minmax(column):
    return (column - column.min()) / np.ptp(column)


def scaled(values):
    """The values by SCALING."""
    a, b, c, d, e, z = values.T
    return np.column_stack([standardized(signed_log(a)), robust(b), ranks(c, c), minmax(d), e, robust(z)])


@pytest.mark.spark
def test_every_column_is_scaled_in_its_own_way(spark, table, values, tmp_path):
    data = process_csv(table, scaling=SCALING)
    np.testing.assert_allclose(features(data), scaled(values), rtol=1e-9, atol=1e-9)
    layout = FeatureLayout.of_metadata(data.schema["features"].metadata)
    assert [span.scaling for span in layout.spans] == ["log", "robust", "quantile", "minmax", None, "robust"]
    assert is_standardized(data, "features")
    preparation_of(data).save(str(tmp_path / "pipeline"))
    assert len(load_stages(spark, str(tmp_path / "pipeline"))) == len(preparation_of(data).stages)
    again = process_csv(table, like=PipelineModel.load(str(tmp_path / "pipeline")))
    np.testing.assert_array_equal(features(again), features(data))


@pytest.mark.spark
@pytest.mark.parametrize(("word", "scale"), [("robust", robust), ("log", lambda x: standardized(signed_log(x)))])
def test_a_word_is_for_all_numbers(spark, table, values, word, scale):
    expected = np.column_stack([scale(column) for column in values.T])
    np.testing.assert_allclose(features(process_csv(table, scaling=word)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.spark
def test_new_values_beyond_all_others_have_the_rank_of_the_last(spark, table, values, write):
    data = process_csv(table, scaling="quantile")
    np.testing.assert_allclose(features(data), np.column_stack([ranks(column, column) for column in values.T]), atol=1e-9)
    assert not is_standardized(data, "features")
    new = np.vstack([values.min(axis=0) - 1, values.max(axis=0) + 1])
    far = features(process_csv(write(csv(new), "new.csv"), like=data))
    np.testing.assert_allclose(far, [ranks(column, old) for column, old in zip(new, [values] * 2, strict=True)]
                               if False else np.column_stack([ranks(new[:, i], values[:, i]) for i in range(6)]), atol=1e-9)  # fmt: skip
