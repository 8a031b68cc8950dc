"""Calendar features: SQL, which makes them, against pyarrow, which fits what is done with them."""

from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.params.choices import CALENDAR_PARTS
from airflow_provider_distkeras.ml import process_csv
from airflow_provider_distkeras.ml.data.derived_features import features_of

pytestmark = pytest.mark.spark

TIMES = [datetime(2026, 1, 1), datetime(2024, 2, 29, 23, 59, 58), datetime(2020, 12, 31, 12, 30), datetime(1969, 7, 20, 20, 17)]


@pytest.mark.parametrize("cyclic", [False, True])
def test_sql_and_arrow_agree(spark, cyclic):
    features = features_of("at", CALENDAR_PARTS, cyclic=cyclic)
    data = spark.createDataFrame([(time,) for time in TIMES], "at timestamp_ntz")
    made = np.array(data.selectExpr(*(feature.sql for feature in features)).collect())
    expected = np.array([feature.values(pa.array(TIMES, pa.timestamp("us"))).to_pylist() for feature in features]).T
    np.testing.assert_allclose(made, expected, atol=1e-12)


def test_parts_that_come_round_are_placed_on_a_circle_and_others_are_not():
    features = features_of("at", ["year", "hour"], cyclic=True)
    assert [feature.name for feature in features] == ["at__year", "at__hour__sin", "at__hour__cos"]
    times = pa.array([datetime(2026, 1, 1, hour) for hour in (0, 6, 23)], pa.timestamp("us"))
    sines, cosines = (feature.values(times).to_numpy() for feature in features[1:])
    np.testing.assert_allclose((sines[:2], cosines[:2]), [[0, 1], [1, 0]], atol=1e-12)
    assert np.hypot(sines[2] - sines[0], cosines[2] - cosines[0]) < 0.27  # an hour of 24


def features(data):
    return {row.label: row.features.toArray().tolist() for row in data.collect()}


@pytest.mark.parametrize(
    ("times", "options"),
    [
        (("2026-03-02T06:30:00", "2026-03-07 18:00"), {}),
        (("2026-03-02T06:30:00Z", "2026-03-07T20:00:00+02:00"), {}),
        (("2026-03-02T06:30Z", "2026-03-07 18:00"), {}),
        (("02/03/2026 06:30", "07/03/2026 18:00"), {"timestamp_formats": ["%d/%m/%Y %H:%M"]}),
    ],
)
def test_times_in_many_forms(spark, write, times, options):
    content = "at,label\n" + "".join(f"{time},{number}\n" for number, time in enumerate(times))
    result = features(process_csv(write(content), timestamp_columns={"at": ["month", "weekday", "hour"]}, **options))
    assert result == {0: [3, 0, 6], 1: [3, 5, 18]}


def test_parts_are_filled_and_scaled_like_numbers(spark, write):
    path = write("at,label\n2026-01-01,1\n2026-03-01,2\n,3\n2026-05-01,4\n")
    months = {"at": ["month"]}
    assert features(process_csv(path, timestamp_columns=months, missing="indicator"))[3] == [3, 1]
    scaled = features(process_csv(path, timestamp_columns=months, missing="mean", scaling="minmax"))
    assert [scaled[label] for label in (1, 2, 3, 4)] == [[0], [0.5], [0.5], [1]]


def test_what_is_no_time_is_a_bad_line(spark, write):
    with pytest.raises(DataError, match="'at' is 'soon', expected a date or a time"):
        process_csv(write("at,label\n2026-01-01,1\nsoon,2\n"), timestamp_columns={"at": ["month"]})
