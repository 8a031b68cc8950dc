"""The demo's data, and its own Airflow."""

import csv
import filecmp
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "example_dags" / "demo"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(DEMO))


@pytest.fixture
def make_data():
    import make_data

    return make_data


@pytest.fixture
def own(tmp_path):
    """A CSV file of the user's, with columns that nobody declares."""
    path = tmp_path / "own.csv"
    lines = [
        f"{n},2026-01-{n % 28 + 1:02d},{'sun' if n % 3 else 'rain'},note {n},{n / 10 if n % 7 else ''},{n * 2}"
        for n in range(100)
    ]
    path.write_text("\n".join(["id,day,weather,note,temp,cnt", *lines]))
    return path


def rows_of(folder):
    rows = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="") as file:
            rows.extend(csv.DictReader(file))
    return rows


def test_generated_data_match_their_description(make_data, tmp_path):
    made = make_data.generate(tmp_path)
    train, new = rows_of(made.train), rows_of(made.new)

    assert made.rows == len(train) >= 20_000
    assert len(list(made.train.glob("*.csv"))) > 1
    assert 0.18 < len(new) / (len(train) + len(new)) < 0.22
    assert not {row["id"] for row in train} & {row["id"] for row in new}
    assert {row["weather"] for row in train} == {"clear", "mist", "rain", "snow"}
    assert 0 < sum(row["temperature"] == "" for row in train) < 0.02 * len(train)
    assert all(int(row["rentals"]) >= 0 for row in train)


def test_same_seed_same_files(make_data, tmp_path):
    first, second = make_data.generate(tmp_path / "1"), make_data.generate(tmp_path / "2")

    names = [path.name for path in first.train.iterdir()]
    assert filecmp.cmpfiles(first.train, second.train, names, shallow=False) == (names, [], [])


def test_own_file_is_split_and_undeclared_text_decided(make_data, own, tmp_path):
    made = make_data.split_own(tmp_path / "data", own, "cnt", ["id"], [])

    assert (made.label, made.excluded, made.categorical) == ("cnt", ["id", "day", "note"], ["weather"])
    assert made.notices == [
        "column 'day' holds dates or free text (such as '2026-01-01'): left out",
        "column 'weather' holds text, 2 distinct values: one-hot encoded",
        "column 'note' holds dates or free text (such as 'note 0'): left out",
    ]
    assert len(rows_of(made.train)) + len(rows_of(made.new)) == 100
    assert made.rows == len(rows_of(made.train))


def test_earlier_files_do_not_linger(make_data, own, tmp_path):
    make_data.generate(tmp_path / "data")
    made = make_data.split_own(tmp_path / "data", own, "cnt", [], [])

    assert len(rows_of(made.train)) < 100


@pytest.mark.parametrize(
    ("label", "excluded", "categorical", "message"),
    [
        ("count", [], [], "LABEL: {own} has no column 'count'. Its columns: id, day, weather, note, temp, cnt."),
        ("cnt", ["dteday"], [], "EXCLUDE: {own} has no column 'dteday'."),
        ("cnt", [], ["season"], "CATEGORICAL: {own} has no column 'season'."),
        ("cnt", ["cnt"], [], "EXCLUDE: 'cnt' is the column to predict."),
        ("weather", [], [], "LABEL: column 'weather' holds text such as 'rain'; the demo predicts a number."),
    ],
)
def test_wrong_columns_are_named(make_data, own, tmp_path, label, excluded, categorical, message):
    with pytest.raises(make_data.DemoError) as caught:
        make_data.split_own(tmp_path / "data", own, label, excluded, categorical)

    assert str(caught.value).startswith(message.format(own=own))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "CSV: there is no file {path}."),
        (b"", "CSV: {path} has no rows"),
        (b"a,b\n", "CSV: {path} has no rows"),
        (b"a,b\n1,2\n3\n", "CSV: record 3 of {path} has 1 values, the header has 2."),
        (b"a,b\n1,2\n3,4\n", "CSV: {path} has 2 rows, expected at least 20"),
        (b"a,b,a\n1,2,3\n", "CSV: {path} has several columns 'a': rename all but one."),
        (b"a,b\n1,\xff\n", "CSV: {path} is no CSV file in UTF-8: "),
    ],
)
def test_unusable_file_is_refused_with_the_reason(make_data, tmp_path, content, message):
    path = tmp_path / "own.csv"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(make_data.DemoError) as caught:
        make_data.split_own(tmp_path / "data", path, "a", [], [])

    assert str(caught.value).startswith(message.format(path=path))


def test_demo_uses_nothing_of_the_users_airflow(monkeypatch):
    import home

    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://production")
    monkeypatch.setenv("SPARK_HOME", "/opt/spark")
    environment = home.environment()

    assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in environment
    assert "SPARK_HOME" not in environment
    for name in ("AIRFLOW_HOME", "AIRFLOW__DISTKERAS__ARTIFACT_ROOT", "KERAS_HOME", "MPLCONFIGDIR", "SPARK_LOCAL_DIRS"):
        assert Path(environment[name]).is_relative_to(home.CHECKOUT / ".demo")


def test_own_file_needs_a_label(monkeypatch, own, capsys):
    import home
    import run

    monkeypatch.setattr(home, "HOME", own.parent)
    monkeypatch.setattr("sys.argv", ["run.py", "--csv", str(own)])

    assert run.main() == 1
    assert "LABEL: name the column to predict, such as make demo CSV=path/to.csv LABEL=cnt." in capsys.readouterr().err


def test_a_folder_is_no_file(make_data, tmp_path):
    with pytest.raises(make_data.DemoError, match="is a folder, expected a file"):
        make_data.split_own(tmp_path / "data", tmp_path, "label", [], [])
