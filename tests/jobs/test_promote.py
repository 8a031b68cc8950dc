"""Challengers and champions with given weights, on real Spark."""

import numpy as np
import pytest

from airflow_provider_distkeras.contract.errors import ArtifactError, DataError, SpecError
from airflow_provider_distkeras.contract.files.storage import local_path
from airflow_provider_distkeras.contract.specs import PromoteSpec

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def twice(save, network):
    """Predicts 2a, and takes a missing b for its mean; scores every row."""
    return save(network([[2.0], [0.0]], [0.0]), excluded_columns=["kind"], missing={"b": "mean"})


@pytest.fixture(scope="module")
def thrice(save, network):
    """Predicts 3a; a row without b cannot be scored."""
    return save(network([[3.0], [0.0]], [0.0]), excluded_columns=["kind"])


@pytest.fixture
def promoting(run_job, tmp_path):
    """Runs a promote job on rows written as CSV files, one per text; returns its manifest."""

    def run(challenger, champion, *texts, **fields):
        for number, text in enumerate(texts):
            (tmp_path / f"held-out-{number}.csv").write_text(text)
        given = {
            "champion": "bikes",
            "period": "2026-04",
            "champion_period": "2026-03",
            "input_path": f"{tmp_path}/held-out-*.csv",
        }
        return run_job(PromoteSpec.build(**{**given, "model_path": challenger, "champion_path": champion} | fields))

    return run


ROWS = "a,b,label\n1,0,2\n2,0,4\n3,0,6.5\n"


def test_without_a_champion_the_challenger_is_measured_alone(promoting, twice):
    done = promoting(twice, None, ROWS, metrics=["rmse", "mape"])

    result = done.result
    assert (result["champion_path"], result["promoted"], result["rows"]) == (twice, True, 3)
    assert list(result["metrics"]) == ["challenger"]
    expected = {"r2": 1 - 0.25 / 10.166667, "rmse": np.sqrt(0.25 / 3), "mape": 0.5 / 6.5 / 3}
    assert result["metrics"]["challenger"] == pytest.approx(expected)
    assert len(done.inputs) == 1


def test_the_better_of_two_is_the_champion(promoting, twice, thrice):
    won = promoting(twice, thrice, ROWS)
    lost = promoting(thrice, twice, ROWS)

    assert (won.result["champion_path"], won.result["promoted"]) == (twice, True)
    assert (lost.result["champion_path"], lost.result["promoted"]) == (twice, False)
    assert won.result["metrics"]["challenger"] == lost.result["metrics"]["champion"]
    assert won.result["metrics"]["champion"] == lost.result["metrics"]["challenger"]
    assert lost.result["reason"].endswith("is not better by more than 0")
    assert won.details.challenger_path == twice


def test_both_are_measured_on_the_rows_that_both_can_score(promoting, twice, thrice):
    """Over several files and tasks; a row that only one can score would change its metrics."""
    random = np.random.default_rng(0)
    texts = []
    for _ in range(5):
        rows = [f"{a:.4f},{'' if a > 1.2 else 0},{1000 if a > 1.2 else 3 * a:.4f}" for a in random.normal(size=200)]
        texts.append("a,b,label\n" + "\n".join(rows) + "\n")
    done = promoting(twice, thrice, *texts, metric="rmse", max_quarantined=0.5)

    records = [row.split(",") for text in texts for row in text.splitlines()[1:]]
    a = np.array([float(row[0]) for row in records if row[1]])
    assert done.result["rows"] == len(a)
    assert done.details.rows_left_out == 1000 - len(a)
    assert done.result["metrics"]["challenger"]["rmse"] == pytest.approx(np.sqrt(np.mean(a**2)), rel=1e-4)
    assert done.result["metrics"]["champion"]["rmse"] == pytest.approx(0, abs=1e-3)


def test_rows_without_a_label_do_not_count(promoting, twice, thrice):
    assert promoting(twice, thrice, ROWS + "9,0,\n").result["rows"] == 3


@pytest.fixture(scope="module")
def sour(save, network):
    """Numbers the classes as `classes` does not: it was trained on another column order, and always predicts sour."""
    model = network([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [9.0, 0.0, 0.0], "categorical_crossentropy")
    return save(model, label_col="kind", excluded_columns=["label"], categorical_columns=["kind"])


KINDS = "a,b,kind\n2,0,sour\n0,2,sweet\n0,0,salty\n2,0,salty\n"


def test_classes_are_measured_by_their_names(promoting, scoring, classes, sour):
    done = promoting(classes, sour, KINDS, evaluator="multiclass", metric="accuracy", metrics=["f1", "logLoss"])

    assert done.result["promoted"]
    challenger = done.result["metrics"]["challenger"]
    scored = scoring(classes, KINDS).result["metrics"]
    assert (challenger["accuracy"], challenger["f1"]) == pytest.approx((scored["accuracy"], scored["f1"]))
    assert challenger["logLoss"] > 0


def test_two_classes(promoting, save, network):
    model = save(network([[0.0, 4.0], [0.0, 0.0]], [0.0, 0.0], "categorical_crossentropy"), excluded_columns=["kind"])
    rows = "a,b,label\n2,0,1\n-2,0,0\n1,0,1\n-1,0,0\n"
    done = promoting(model, None, rows, evaluator="binary", metrics=["areaUnderPR"])
    assert done.result["metrics"]["challenger"] == {"areaUnderROC": 1.0, "areaUnderPR": 1.0}
    with pytest.raises(DataError, match=r"'binary' judges the classes 0 and 1; to the challenger, .* has labels from 0 to 2"):
        promoting(model, None, rows + "1,0,2\n", evaluator="binary")


@pytest.mark.parametrize(
    ("rows", "fields", "error", "message"),
    [
        ("a,b\n1,1\n", {}, DataError, "lacks the column that the challenger predicts; received a, b."),
        ("a,b,label\n1,1,\n", {}, DataError, "has a label that the models could be measured on. Give rows with labels."),
        ("a,b,label\n1,1,2\n", {}, DataError, "held-out-*.csv is nan: expected a number. Give more, or other, rows."),
        (ROWS, {"evaluator": "multiclass"}, SpecError, "evaluator: the challenger needs 'regression', received 'multiclass'."),
        (ROWS + "1,,2\n", {}, DataError, "The champion cannot score 1 of 4 rows of"),
    ],
    ids=["no label column", "no label", "no metric", "evaluator", "unscored"],
)
def test_what_cannot_be_compared_is_refused_with_the_fix(promoting, twice, thrice, rows, fields, error, message):
    with pytest.raises(error) as raised:
        promoting(twice, thrice, rows, **fields)
    assert message in str(raised.value)


def test_a_class_that_training_did_not_see_has_no_log_loss(promoting, classes):
    rows = KINDS + "1,1,umami\n"
    assert promoting(classes, None, rows, evaluator="multiclass").result["rows"] == 5
    with pytest.raises(DataError, match="metric: logLoss cannot judge classes that the challenger was not trained on"):
        promoting(classes, None, rows, evaluator="multiclass", metric="logLoss")


def test_models_of_different_labels_are_not_compared(promoting, save, network, twice):
    other = save(network([[1.0], [0.0]], [0.0]), label_col="b", excluded_columns=["kind", "label"])
    with pytest.raises(DataError, match="The models predict different columns, the challenger 'label' and the champion 'b'"):
        promoting(twice, other, ROWS)


def test_models_that_read_other_lines_are_not_compared(promoting, save, network, twice):
    """To one of them, b is a text."""
    text = save(network([[1.0], [0.0]], [0.0]), excluded_columns=["kind", "b"], schema={"a": "number"})
    with pytest.raises(DataError, match="The models do not read the same rows"):
        promoting(twice, text, ROWS + "1,x,2\n", bad_lines="drop", max_bad_lines=0.5)


def test_prepared_rows_are_refused(promoting, prepared, twice):
    with pytest.raises(DataError, match="holds prepared rows, which fit one pipeline only; expected raw CSV or Parquet"):
        promoting(twice, None, input_path=prepared([[1.0, 1.0]]))


def test_a_champion_that_is_gone_is_an_error_with_the_fix(promoting, twice, tmp_path):
    assert not local_path(f"file://{tmp_path}/gone").exists()
    with pytest.raises(ArtifactError) as error:
        promoting(twice, f"file://{tmp_path}/gone", ROWS)
    assert f"The model of the champion of 'bikes', file://{tmp_path}/gone, cannot be read: " in str(error.value)
    assert "delete the newest record of that champion: then the one before it counts again." in str(error.value)
