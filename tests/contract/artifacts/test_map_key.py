"""Map keys, and the folders of segments."""

import pytest

from airflow_provider_distkeras.contract.artifacts.map_key import MapKey, segment_folder

KEY = MapKey("Oslo", 3, 1)


@pytest.mark.parametrize(
    ("segment", "folder"),
    [
        (-1, ""),
        (0, "0"),
        (12, "12"),
        ("Oslo", "Oslo"),
        ("são paulo", "s_o_paulo-577abdbf"),
        ("s3a://bikes/city=1", "s3a___bikes_city_1-"),
        ("0", "0-5feceb66"),
        ("period=1", "period_1-"),
        ("..", "..-"),
        ("x" * 300, "x" * 100 + "-"),
    ],
)
def test_a_segment_has_a_folder(segment, folder):
    assert segment_folder(segment).startswith(folder)
    assert len(segment_folder(segment)) <= 120
    assert "/" not in segment_folder(segment)


def test_no_key_has_the_folder_of_a_map_index_or_of_another_key():
    keys = ["0", "00", "Oslo", "oslo", "a/b", "a_b", "a=b", "a b", "a_b-c8687a08", "x" * 300, "x" * 301]
    assert len({segment_folder(key) for key in keys} - {segment_folder(index) for index in range(100)}) == len(keys)


def test_a_key_comes_back_from_its_xcom():
    assert MapKey.from_xcom(KEY.to_dict()) == KEY


@pytest.mark.parametrize(
    "value",
    [None, "Oslo", [], {}, {"text": "Oslo"}, KEY.to_dict() | {"text": None}, KEY.to_dict() | {"map_index": "3"}, {"a": 1}],
)
def test_another_xcom_is_no_key(value):
    assert MapKey.from_xcom(value) is None


@pytest.mark.parametrize(
    ("other", "is_taken"),
    [(KEY, False), (MapKey("Oslo", 4, 1), True), (MapKey("Bergen", 4, 1), False), (MapKey("Oslo", 4, 0), False)],
)
def test_a_key_is_taken_by_another_task_instance_of_the_same_time(other, is_taken):
    assert KEY.is_taken_by(other) == is_taken
