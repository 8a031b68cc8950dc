"""Scaling per column, through the real reader and Spark's stages, against NumPy."""

import numpy as np
import pytest
from pyspark.ml import PipelineModel

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.feature_layout import FeatureLayout
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.contract.specs.feature_columns import feature_columns
from airflow_provider_distkeras.contract.specs.feature_scaling import FeatureScaling
from airflow_provider_distkeras.contract.specs.preprocess import PreprocessDetails
from airflow_provider_distkeras.ml import preparation_of, process_csv
from airflow_provider_distkeras.ml.data.feature_statistics import FeaturePreparation, RankMap
from airflow_provider_distkeras.spark.columns import is_standardized
from airflow_provider_distkeras.spark.saved_stages import load_stages
from tests.ml.prepared import quantile, ranks

ROWS = 401  # no whole number of which is a hundredth
KINDS = ["number", "indicator", "category", "array", "hashed", "index"]
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
    np.testing.assert_allclose(far, np.column_stack([ranks(new[:, at], values[:, at]) for at in range(len(NAMES))]), atol=1e-9)


@pytest.mark.spark
@pytest.mark.filterwarnings("ignore:Files with the same columns")
def test_missing_values_are_filled_in_by_statistics_of_logarithms_and_ranks(spark, values, write):
    """Robust ones by the median, whose quartiles are those of the values that are there; a constant is there before all else."""
    gaps = np.where(np.arange(ROWS)[:, None] % 7 == np.arange(len(NAMES)), np.nan, values)
    present = [column[~np.isnan(column)] for column in gaps.T]
    policies = {"a": "indicator", "b": "median", "c": "median", "d": "mean", "e": 2.0, "z": "mean"}
    scaling = {"default": "standard", "a": "log", "b": "robust", "c": "quantile", "d": "quantile", "e": "log", "z": "robust"}
    result = features(process_csv(write(csv(gaps)), missing=policies, scaling=scaling))
    lacking = np.isnan(gaps)
    e, z = signed_log(np.where(lacking[:, 4], 2.0, gaps[:, 4])), np.where(lacking[:, 5], present[5].mean(), gaps[:, 5])
    logs = np.where(lacking[:, 0], signed_log(present[0]).mean(), signed_log(gaps[:, 0]))
    low, middle, high = quantile(present[1], [0.25, 0.5, 0.75])
    expected = [
        standardized(logs),
        standardized(lacking[:, 0].astype(float)),  # the default's, as no indicator has a logarithm
        (np.where(lacking[:, 1], middle, gaps[:, 1]) - middle) / (high - low),
        np.where(lacking[:, 2], ranks(quantile(present[2], 0.5), present[2]), ranks(gaps[:, 2], present[2])),
        np.where(lacking[:, 3], 0.5, ranks(gaps[:, 3], present[3])),
        standardized(e),
        (z - quantile(present[5], 0.5)) / z.std(ddof=1),  # most values are one number
    ]
    np.testing.assert_allclose(result, np.column_stack(expected), rtol=1e-9, atol=1e-9)


@pytest.mark.spark
def test_constants_categories_times_and_arrays(spark, write):
    lines = ["one,few,kind,day,image,label"]
    lines += [f"3,{'01'[i == 2]},{'xy'[i % 2]},2026-0{1 + i}-01,{i} {4 * i},{i}" for i in range(6)]
    options = {
        "categorical_columns": ["kind"], "timestamp_columns": {"day": ["month"]}, "schema": {"image": "array[2]"},
        "columns_renamed": {"one": "1"},
    }  # fmt: skip
    path = write("\n".join(lines) + "\n")
    month, image = np.arange(6.0) + 1, np.outer(np.arange(6.0), [1, 4])
    few = np.arange(6) == 2
    onehot = np.eye(2)[np.arange(6) % 2]
    low, middle, high = quantile(image.ravel(), [0.25, 0.5, 0.75])
    by_robust = features(process_csv(path, scaling="robust", **options))
    expected = [np.zeros(6), few / few.std(ddof=1), *onehot.T, robust(month), *((image - middle) / (high - low)).T]
    np.testing.assert_allclose(by_robust, np.column_stack(expected), atol=1e-9)
    words = {"default": "minmax", "1": "quantile", "day": "log", "image": "robust"}
    mixed = features(process_csv(path, scaling=words, **options))
    expected = [np.full(6, 0.5), few, *onehot.T, standardized(np.log1p(month)), *expected[-2:]]
    np.testing.assert_allclose(mixed, np.column_stack(expected), atol=1e-9)
    with pytest.raises(
        SpecError, match=r"'image' holds arrays, which take standard.*scaling=\{'default': 'log', 'image': 'minmax'"
    ):
        process_csv(path, scaling="log", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scaling": "standart"}, "scaling: Unknown scaling 'standart'. Did you mean 'standard'?"),
        ({"scaling": {"x": "logg"}}, "scaling['x']: Unknown scaling 'logg'"),
        (
            {"scaling": {"kind": "log"}, "categorical_columns": ["kind"]},
            "scaling['kind']: expected a column of numbers that is a",
        ),
        ({"scaling": {"label": "log"}}, "it is the label_col: leave it out of scaling."),
        ({"scaling": {"label": "log"}, "categorical_columns": ["label"]}, "it is the label_col"),
        ({"scaling": {"id": "log"}, "excluded_columns": ["id"]}, "it is among excluded_columns"),
    ],
)
def test_columns_that_are_no_numbers_and_other_words_are_refused(options, message):
    with pytest.raises(SpecError) as error:
        PreprocessSpec.build(input_path="a.csv", **options)
    assert message in str(error.value)


def test_a_template_gives_a_dict_and_none_is_a_word():
    assert PreprocessSpec.build(input_path="a.csv", scaling='{"x": "log", "y": null}').scaling == {"x": "log", "y": "none"}
    assert PreprocessSpec.build(input_path="a.csv", scaling="none").scaling is None


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        (
            {"default": "log"},
            r"scaling\['default'\]: this is the scaling of all columns that are not named, and the files have a col",
        ),
        ({"prize": "log"}, "scaling: Unknown column 'prize'. Did you mean 'price'"),
    ],
)
def test_a_name_that_no_column_has_and_a_column_named_default_are_refused(scaling, message):
    with pytest.raises(DataError, match=message):
        feature_columns(PreprocessSpec.build(input_path="a.csv", scaling=scaling), ["price", "default", "label"])


@pytest.mark.parametrize(
    ("scaling", "standardizes"),
    [("standard", True), ("minmax", False), ({"x": "quantile"}, False), ({"default": "minmax", "x": "log"}, True), (None, False)],
)
def test_a_manifest_says_whether_any_column_is_standardized(scaling, standardizes):
    details = PreprocessDetails.from_dict({"scaling": scaling}, "The manifest")
    assert FeatureScaling.of(details.scaling).standardizes == standardizes


def test_layouts_of_earlier_versions_are_scaled_by_the_manifests_word():
    spans = [{"column": name, "kind": name, "start": at, "stop": at + 1, "fill": None} for at, name in enumerate(KINDS)]
    preparation = FeaturePreparation.of({"scaling": "minmax", "layout": spans})
    assert [span.column for span in preparation.spans if span.scaling == "minmax"] == KINDS[:-2]


def test_equal_numbers_share_the_middle_of_their_ranks():
    among = RankMap.of(np.array([0.0, 0.0, 0.0, 1.0, 5.0]))
    np.testing.assert_allclose(among.apply(np.array([-1.0, 0.0, 1.0, 3.0, 9.0])), [0.25, 0.25, 0.75, 0.875, 1])
    assert among.inverse(0.875) == 3
    assert RankMap.of(np.full(101, 2.0)).apply(np.array([1.0, 2.0, 3.0])).tolist() == pytest.approx([0.5] * 3)
