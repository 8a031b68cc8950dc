"""Splitters, on real Spark."""

from collections import Counter, defaultdict

import pytest
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.ml.estimator.fold import PART, TEST, VALIDATION
from airflow_provider_distkeras.ml.tuning.splitters import Splitter, count_parts

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def data(spark):
    """1,200 rows: an id, 40 groups, a rare class, a time that has nothing to do with the id, and vectors."""
    frame = spark.range(1200).selectExpr(
        "id", "id % 40 AS owner", "double(id % 30 = 0) AS label", "timestamp_seconds(hash(id)) AS day", "double(id) AS x"
    )
    return VectorAssembler(inputCols=["x"], outputCol="features").transform(frame).cache()


def parts(splitter, data):
    return {row["id"]: row[PART] for row in splitter.assign(data).select("id", PART).collect()}


@pytest.mark.parametrize(
    "options", [{}, {"group_col": "owner"}, {"stratified": "label"}, {"time_col": "day"}, {"test_share": 0.2}], ids=str
)
def test_parts_depend_on_the_rows_and_not_on_their_partitions(data, options):
    splitter = Splitter(3, seed=7, **options)
    assert parts(splitter, data.repartition(5)) == parts(splitter, data.coalesce(1))


def test_random_folds_are_about_equal_and_another_seed_gives_others(data):
    assigned = parts(Splitter(4), data)
    assert all(240 < rows < 360 for rows in Counter(assigned.values()).values())
    assert sorted(Counter(assigned.values())) == [0, 1, 2, 3]
    assert assigned != parts(Splitter(4, seed=1), data)


def test_equal_rows_share_a_fold(spark):
    twins = spark.range(200).selectExpr("id % 50 AS x")
    split_twins = Splitter(5).assign(twins).groupBy("x").agg(F.count_distinct(PART).alias("parts")).where("parts > 1")
    assert split_twins.count() == 0


def test_every_fold_has_its_share_of_every_label(data):
    counts = Splitter(4, stratified="label", test_share=0.1).assign(data).groupBy("label", PART).count().collect()
    rare = {row[PART]: row["count"] for row in counts if row["label"] == 1.0}
    assert rare == {TEST: 4, 0: 9, 1: 9, 2: 9, 3: 9}


def test_a_group_stays_together_and_folds_stay_equal(data):
    assigned = Splitter(4, group_col="owner", test_share=0.1).assign(data)
    apart = assigned.groupBy("owner").agg(F.count_distinct(PART).alias("parts")).where("parts > 1")
    assert apart.count() == 0
    assert count_parts(assigned) == {TEST: 120, 0: 270, 1: 270, 2: 270, 3: 270}


def test_by_time_a_fold_trains_on_the_past_only(data):
    splitter = Splitter(3, time_col="day", test_share=0.2)
    times = defaultdict(list)
    for row in splitter.assign(data).select("day", PART).collect():
        times[row[PART]].append(row["day"])
    assert [len(times[part]) for part in (0, 1, 2, 3, TEST)] == pytest.approx([240] * 5, abs=1)
    for fold in [*splitter.folds, splitter.test_fold]:
        assert max(max(times[part]) for part in fold.training) < min(min(times[part]) for part in fold.held_out)


def test_a_gap_keeps_rows_just_before_those_held_out_from_training_and_from_nothing_else(data):
    gap = 200_000_000
    splitter = Splitter(3, time_col="day", test_share=0.2, gap=gap)
    times = defaultdict(list)
    for row in splitter.assign(data).select(F.unix_seconds("day").alias("day"), PART).collect():
        times[row[PART]].append(row["day"])
    for fold in [*splitter.folds, splitter.test_fold]:
        held_out = [day for part in fold.held_out for day in times[part]]
        earlier = [day for days in times.values() for day in days if day < min(held_out)]
        training = [day for part in fold.training for day in times[part]]
        assert len(held_out) == pytest.approx(240, abs=1)
        assert sorted(training) == sorted(day for day in earlier if day <= max(earlier) - gap)
    with pytest.raises(DataError, match="fold_gap: 2e\\+09 is as long as a part of the rows by 'day'"):
        Splitter(3, time_col="day", gap=2e9).assign(data)
    with pytest.raises(SpecError, match="fold_gap: 5 needs a column to order rows by"):
        Splitter(3, gap=5)


def test_groups_in_time_stay_together_and_begin_after_those_trained_on(data):
    splitter = Splitter(3, group_col="owner", time_col="day", test_share=0.2)
    assigned = splitter.assign(data)
    begins = assigned.groupBy("owner").agg(F.min("day").alias("begin"), F.collect_set(PART).alias("parts")).collect()
    assert all(len(row["parts"]) == 1 for row in begins)
    part_of = {row["begin"]: row["parts"][0] for row in begins}
    ordered = [part_of[begin] for begin in sorted(part_of)]
    assert ordered == sorted(ordered, key=lambda part: 9 if part == TEST else part)
    assert set(ordered) == {0, 1, 2, 3, TEST}
    assert assigned.columns == [*data.columns, PART]


def test_one_fold_is_measured_on_the_share_set_aside_else_on_the_validation_rows_else_on_none(data):
    assert Splitter(1, test_share=0.2, validation_col="mark").folds[0].held_out == (TEST,)
    assert Splitter(1, test_share=0.2).test_fold is None
    assert Splitter(1).folds == []
    marked = data.withColumn("mark", F.expr("id % 10 = 0"))
    (fold,) = Splitter(1, validation_col="mark").folds
    assigned = Splitter(1, validation_col="mark").assign(marked)
    assert {row["id"] % 10 for row in fold.held_out_rows(assigned).collect()} == {0}
    assert fold.training_rows(assigned).count() == 1200


@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamp_ntz", "long"])
def test_times_of_every_kind_are_ordered_by(spark, kind):
    days = spark.range(40).select(F.expr("date_add(date'2026-01-01', int(id))").alias("day"))
    when = F.expr("unix_date(day)") if kind == "long" else F.col("day").cast(kind)
    assigned = Splitter(3, time_col="when").assign(days.withColumn("when", when))
    assert [row[PART] for row in assigned.orderBy("day").collect()] == [0] * 10 + [1] * 10 + [2] * 10 + [3] * 10


@pytest.mark.parametrize(
    ("column", "error"),
    [
        ("'2026-01-01'", "expected times or numbers to order by, received string"),
        ("true", "expected times or numbers to order by, received boolean"),
        ("double('NaN')", "expected a time or a number in every row, received none in 1200"),
    ],
    ids=["text", "boolean", "nan"],
)
def test_a_column_that_is_not_a_time_is_refused(data, column, error):
    with pytest.raises(DataError, match=error):
        Splitter(3, time_col="when").assign(data.withColumn("when", F.expr(column)))


def test_a_column_of_fold_numbers_is_used_and_checked(data):
    chosen = data.withColumn("mine", F.expr("int(id % 3)"))
    assert all(part == row % 3 for row, part in parts(Splitter(3, fold_col="mine"), chosen).items())
    with pytest.raises(
        DataError, match="expected fold numbers from 0 to 1, received others in 400 rows: from 2 to 2, 0 of them null"
    ):
        Splitter(2, fold_col="mine").assign(chosen)
    with pytest.raises(DataError, match="expected fold numbers as integers, received double"):
        Splitter(2, fold_col="x").assign(chosen)


@pytest.mark.parametrize("options", [{}, {"group_col": "owner"}, {"stratified": "label"}, {"time_col": "day"}], ids=str)
def test_marked_rows_are_validated_on_and_never_held_out(data, options):
    marked = data.withColumn("mark", F.expr("CASE WHEN id % 10 = 0 THEN true WHEN id % 10 = 1 THEN null ELSE false END"))
    splitter = Splitter(3, validation_col="mark", **options)
    assigned = splitter.assign(marked)
    assert {row["id"] % 10 for row in assigned.where(F.col(PART) == VALIDATION).select("id").collect()} == {0}
    for fold in splitter.folds:
        assert fold.training_rows(assigned).where("mark").count() == 120
        assert fold.held_out_rows(assigned).where("mark").count() == 0


def test_an_empty_fold_is_refused(data):
    splitter = Splitter(3, fold_col="mine")
    assigned = splitter.assign(data.withColumn("mine", F.lit(0)))
    with pytest.raises(DataError, match="Fold 0 of 3 has 0 rows to train on and 1200 to be measured on"):
        splitter.check_sizes(count_parts(assigned))


def test_two_ways_to_make_folds_are_refused():
    with pytest.raises(SpecError, match="expected one way to make them"):
        Splitter(3, fold_col="a", time_col="b")


def test_a_column_that_is_not_there_is_refused(data):
    with pytest.raises(DataError, match=r"Unknown column 'ownr'\. Did you mean 'owner'"):
        Splitter(3, group_col="ownr").assign(data)
