"""Models of columns whose names in the files no stage could take: with dots, or the names of what the model adds."""

import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from airflow_provider_distkeras.contract.specs import PromoteSpec

pytestmark = pytest.mark.spark

#: `a` stands in the way of the new name of `PT08.S1(CO)`, and `label` of that of `prediction`: training left both out.
ROWS = "day.of.week,PT08.S1(CO),a,prediction,label,w.1,features\nMon,1,x,3,7,1,0\nTue,2,y,5,8,1,1\nWed,4,z,8,9,2,0\n"
RENAMED = {"PT08.S1(CO)": "a", "features": "b", "prediction": "label"}


@pytest.fixture(scope="module")
def odd(save, network):
    """Predicts 2a - b, that is 2, 3 and 8."""
    return save(
        network([[2.0], [-1.0]], [0.0]),
        training=ROWS,
        columns_renamed=RENAMED,
        excluded_columns=["day.of.week", "a", "label", "w.1"],
    )


@pytest.fixture(params=["csv", "parquet"])
def rows(request, tmp_path):
    path = tmp_path / f"rows.{request.param}"
    path.write_text(ROWS)
    if request.param == "parquet":
        pq.write_table(pyarrow.csv.read_csv(path), path)
    return str(path)


@pytest.mark.parametrize("output_format", ["parquet", "csv"])
def test_they_are_scored_and_measured_and_kept_by_their_names_in_the_files(spark, odd, scoring, rows, output_format):
    done = scoring(odd, rows, output_format=output_format)
    scored = (
        spark.read.option("header", True).option("inferSchema", True).format(output_format).load(done.result["predictions_path"])
    )
    assert scored.columns == ["day.of.week", "PT08.S1(CO)", "a", "label", "w.1", "prediction"]
    received = [tuple(row) for row in scored.orderBy("prediction").collect()]
    assert [[str(value).removesuffix(".0") for value in row] for row in received] == [
        ["Mon", "1", "x", "7", "1", "2"],
        ["Tue", "2", "y", "8", "1", "3"],
        ["Wed", "4", "z", "9", "2", "8"],
    ]
    assert done.result["metrics"]["rmse"] ** 2 == pytest.approx(5 / 3)


def test_a_key_may_have_any_name(spark, odd, scoring, rows):
    done = scoring(odd, rows, key_columns=["w.1", "day.of.week"], partition_by=["day.of.week"])
    scored = spark.read.parquet(done.result["predictions_path"])
    assert sorted((str(row["day.of.week"]), row.prediction) for row in scored.collect()) == [("Mon", 2), ("Tue", 3), ("Wed", 8)]
    assert done.result["metrics"]["rmse"] ** 2 == pytest.approx(5 / 3)


def test_a_dotted_label_is_measured(save, network, scoring):
    model = save(network([[1.0]], [0.0]), training="x,y.z\n1,1\n2,2\n", columns_renamed={"y.z": "label"})
    assert scoring(model, "x,y.z\n1,1\n2,4\n").result["metrics"]["rmse"] ** 2 == pytest.approx(2)
    classes = save(
        network([[-1.0, 1.0]], [0.0, 0.0], "categorical_crossentropy"),
        training="x,y.z\n1,up\n-1,down\n", columns_renamed={"y.z": "label"}, categorical_columns=["label"],
    )  # fmt: skip
    assert scoring(classes, "x,y.z\n1,up\n-1,down\n2,up\n3,down\n").result["metrics"]["accuracy"] == 0.75


def test_they_are_compared(odd, save, network, run_job, rows):
    other = save(
        network([[2.0], [0.0]], [1.0]),
        training=ROWS, columns_renamed=RENAMED, excluded_columns=["day.of.week", "a", "label", "w.1"],
    )  # fmt: skip
    spec = PromoteSpec.build(
        champion="x",
        period="2026-04",
        champion_period="2026-03",
        model_path=other,
        champion_path=odd,
        input_path=rows,
        metric="mse",
    )
    result = run_job(spec).result
    assert result["promoted"]
    assert result["metrics"] == {"challenger": {"mse": pytest.approx(1 / 3)}, "champion": {"mse": pytest.approx(5 / 3)}}


def test_raw_rows_of_a_notebook_may_have_the_names_that_were_left_out(spark, odd, tmp_path):
    from pyspark.ml import PipelineModel

    (tmp_path / "rows.csv").write_text(ROWS)
    raw = spark.read.csv(str(tmp_path / "rows.csv"), header=True)
    data = raw.select("`PT08.S1(CO)`", "a", "features", "`w.1`")
    *stages, _ = PipelineModel.load(odd).stages
    features = [row.features.toArray().tolist() for row in PipelineModel(stages).transform(data).collect()]
    assert sorted(features) == [[1, 0], [2, 1], [4, 0]]
