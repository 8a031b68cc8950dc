"""Categories as whole numbers, through the real reader."""

import zlib

import pytest
from pyspark.ml import PipelineModel

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.feature_layout import FeatureLayout
from airflow_provider_distkeras.ml import preparation_of, process_csv
from airflow_provider_distkeras.ml.data.profile import TextProfile

pytestmark = pytest.mark.spark

ROWS = "store,user,label\nb,u1,1\nb,u2,2\na,Ünal,3\nd,,4\n,u5,5\nz,u9,6\nz,u7,7\n"
ENCODING = {"store": {"index": {"min_count": 2}}, "user": {"hash": 1000}}
NEW = "store,user,label\nz,u1,1\nnew,u123,2\nd,,3\n"


def crc(text):
    return 1 + zlib.crc32(text.encode()) % 1000


def features(data):
    return {row.label: row.features.toArray().tolist() for row in data.collect()}


@pytest.mark.parametrize("scaling", [None, "standard", "minmax"])
def test_numbers_begin_at_one_rare_categories_share_the_last_and_missing_ones_have_zero(spark, write, scaling):
    """Nothing scales them; the hash is CRC-32, which any language has."""
    data = process_csv(write(ROWS), categorical_encoding=ENCODING, missing="mean", scaling=scaling)
    assert features(data) == {
        1: [1, crc("u1")], 2: [1, crc("u2")], 3: [3, crc("Ünal")], 4: [3, 0], 5: [0, crc("u5")], 6: [2, crc("u9")],
        7: [2, crc("u7")],
    }  # fmt: skip
    layout = FeatureLayout.of_metadata(data.schema["features"].metadata)
    assert layout.sizes == {"store": 4, "user": 1001}


def test_new_files_get_the_same_numbers_and_new_categories_zero(spark, write, tmp_path):
    data = process_csv(write(ROWS), categorical_encoding=ENCODING, missing="mean")
    preparation_of(data).write().save(str(tmp_path / "pipeline"))
    for preparation in (data, PipelineModel.load(str(tmp_path / "pipeline"))):
        again = process_csv(write(NEW, "new.csv"), like=preparation)
        assert features(again) == {1: [2, crc("u1")], 2: [0, crc("u123")], 3: [3, 0]}
        assert FeatureLayout.of_metadata(again.schema["features"].metadata).sizes == {"store": 4, "user": 1001}


def test_a_missing_category_fails_unless_there_is_a_policy_and_a_text_may_stand_for_it(spark, write):
    with pytest.raises(DataError, match=r"Missing values in 'store' \(1 rows\), 'user' \(1 rows\)\. Set missing='mean'"):
        process_csv(write(ROWS), categorical_encoding=ENCODING)
    data = process_csv(write(ROWS), categorical_encoding={"store": "index"}, missing={"store": "b", "user": "drop"},
                       categorical_columns=["user"])  # fmt: skip
    assert features(data)[5][0] == 2


def test_more_categories_than_a_list_may_have_are_refused_and_a_hash_takes_them(spark, write, monkeypatch):
    monkeypatch.setattr(TextProfile, "limit", 3)
    with pytest.raises(DataError, match=r"'store' has more than 3 different values, too many for 'index'\. .*'hash': 30"):
        process_csv(write(ROWS), categorical_encoding={"store": "index", "user": {"hash": 9}}, missing="mean")
    hashed = process_csv(write(ROWS), categorical_encoding={"store": {"hash": 9}, "user": {"hash": 9}}, missing="mean")
    assert {row[0] for row in features(hashed).values()} <= set(range(10))
