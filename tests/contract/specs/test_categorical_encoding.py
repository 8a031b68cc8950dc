"""How a spec says what becomes of categories."""

import pytest

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.contract.specs.categorical_encoding import CategoricalEncoding
from airflow_provider_distkeras.contract.specs.feature_columns import feature_columns


def spec(encoding, **fields):
    return PreprocessSpec.build(input_path="a.csv", categorical_encoding=encoding, **fields)


def test_a_column_has_the_encoding_that_it_is_given_else_that_of_categorical_columns():
    encodings = {"store": "index", "item": {"index": {"min_count": 5}}, "user": {"hash": 100000}, "size": "onehot"}
    built = spec(encodings, categorical_columns=["season", "store"])
    assert built.encoding_of("store") == CategoricalEncoding("index")
    assert built.encoding_of("item") == CategoricalEncoding("index", min_count=5)
    assert built.encoding_of("user") == CategoricalEncoding("hash", buckets=100000)
    assert built.encoding_of("size") == built.encoding_of("season") == CategoricalEncoding("onehot")
    assert built.encoding_of("temp") is None


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ({"a": "hash"}, "categorical_encoding['a']: expected 'onehot', 'index', {'index': {'min_count': 5}} or {'hash': 100000}"),
        ({"a": {"hash": 10, "index": {}}}, "categorical_encoding['a']: expected 'onehot', 'index'"),
        ({"a": {"hash": 0}}, "categorical_encoding['a']['hash']: expected an integer of at least 1, received 0"),
        ({"a": {"hash": 2**24 + 1}}, "expected at most 16,777,216 numbers, received 16,777,217: features are float32"),
        ({"a": {"index": {"min_cuont": 5}}}, "Unknown option of categorical_encoding['a']['index'] 'min_cuont'. Did you mean"),
        ({"a": {"index": {"min_count": 0}}}, "['index']['min_count']: expected an integer of at least 1"),
        ({"label": "index"}, "The column 'label' has two uses"),
        (["a"], "categorical_encoding: expected a dict"),
    ],
)
def test_a_wrong_encoding_is_refused_with_what_is_expected(encoding, message):
    with pytest.raises(SpecError) as error:
        spec(encoding)
    assert message in str(error.value)


def test_a_hash_may_have_as_many_numbers_as_float32_holds():
    assert spec({"a": {"hash": 2**24}}).encoding_of("a").buckets == 2**24


def test_times_are_no_categories():
    with pytest.raises(SpecError, match="The column 'a' has two uses"):
        spec({"a": "index"}, timestamp_columns={"a": ["month"]})


def test_a_missing_category_may_be_a_text_and_no_number():
    assert spec({"a": "index"}, missing={"a": "none"}).missing == {"a": "none"}
    with pytest.raises(SpecError, match="or the category to fill in as a text"):
        spec({"a": "index"}, missing={"a": 3})


def test_columns_that_the_files_lack_are_told():
    with pytest.raises(DataError, match=r"categorical_encoding: Unknown column 'stroe'\. Did you mean 'store'\?"):
        feature_columns(spec({"stroe": "index"}), ["store", "label"])


def test_a_spec_without_it_has_the_digest_that_it_had_before():
    values = PreprocessSpec.build(input_path="a.csv").to_dict()
    assert values.pop("categorical_encoding") is None
    assert PreprocessSpec.from_dict(values, 1).sha256 == PreprocessSpec.build(input_path="a.csv").sha256
    assert spec({"a": "index"}).sha256 != spec(None).sha256
