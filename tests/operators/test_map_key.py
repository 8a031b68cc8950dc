"""Mapped tasks whose segments have names, with a stub in place of Spark."""

import pytest

from airflow_provider_distkeras.contract.artifacts.map_key import MapKey
from airflow_provider_distkeras.operators import DistKerasPreprocessOperator
from tests.fixtures.dag_run import APRIL
from tests.operators.test_execution import options

pytestmark = pytest.mark.airflow


@pytest.fixture
def cities(stub, run, root, tmp_path):
    """Return a function that runs a task that is mapped over the files of cities."""

    def mapped(*names, logical_date=None, **arguments):
        for name in names:
            (tmp_path / f"{name}.csv").write_text("temp,cnt\n0.5,12\n0.7,30\n")
        paths = [str(tmp_path / f"{name}.csv") for name in names]
        return run(
            lambda: DistKerasPreprocessOperator.partial(
                task_id="prepare", columns_renamed={"cnt": "label"}, artifact_root=str(root), **arguments
            ).expand(input_path=paths),
            **({} if logical_date is None else {"logical_date": logical_date}),
        )

    return mapped


def folders(root):
    return sorted(path.name for path in (root / "dag" / "prepare").iterdir())


CITY = "{{ task.input_path.rpartition('/')[2].removesuffix('.csv') }}"


@pytest.mark.parametrize("argument", ["map_key", "map_index_template"])
def test_artifacts_are_filed_by_the_key_whatever_the_order_of_the_list(cities, stub, root, argument, capfd):
    assert cities("Oslo", "Bergen", **{argument: CITY}).state == "success"
    assert cities("Bergen", "Tromso", logical_date=APRIL, **{argument: CITY}).state == "success"

    assert folders(root) == ["Bergen", "Oslo", "Tromso"]
    for name, periods in (("Bergen", 2), ("Oslo", 1), ("Tromso", 1)):
        requests = list((root / "dag" / "prepare" / name).glob("*/*/_SPEC.json"))
        assert len(requests) == periods
        assert all(f"{name}.csv" in request.read_text() for request in requests)
    assert sorted(options(call["argv"])["--name"] for call in stub.calls()[2:]) == [
        "dag.prepare [Bergen] 2026-04-01T000000Z",
        "dag.prepare [Tromso] 2026-04-01T000000Z",
    ]
    assert "filed by its map key, 'Tromso'" in "".join(capfd.readouterr())


def test_the_key_of_the_argument_counts_before_the_label(cities, root):
    cities("Oslo", map_key=f"city {CITY}", map_index_template="{{ ti.map_index }}")

    (folder,) = folders(root)
    assert folder.startswith("city_Oslo-")


def test_where_the_index_is_all_there_is_the_log_says_so(cities, root, capfd):
    assert cities("Oslo").state == "success"

    assert folders(root) == ["0"]
    log = "".join(capfd.readouterr())
    assert log.count("filed by its map index, 0.") == 1
    assert "set map_key" in log


@pytest.mark.parametrize("template", ["{{ ti.found_at_the_end }}", "{{ ti.found_at_the_end.name }}"])
def test_a_label_that_is_known_only_at_the_end_is_no_key(cities, root, template):
    """The task itself fails at its end where Airflow cannot render the label then, either."""
    cities("Oslo", map_index_template=template)

    assert folders(root) == ["0"]


def test_two_task_instances_with_one_key_are_refused(cities, root):
    done = cities("Oslo", "Bergen", map_key="Norway")

    assert done.state == "failed"
    assert "map_key: expected a text of its own for each task instance, received 'Norway' for the map indexes" in done.message
    assert folders(root) == ["Norway"]


def test_a_key_that_its_template_has_not_found_is_refused(cities, stub):
    done = cities("Oslo", map_key="{{ None }}")

    assert "map_key: expected a text, received 'None'" in done.message
    assert stub.calls() == []


def test_a_task_that_is_not_mapped_may_have_a_key(prepare, run, stub, root):
    done = run(lambda: prepare(map_key="Oslo"))

    assert folders(root) == ["Oslo"]
    assert MapKey.from_xcom(done.xcoms("prepare")[MapKey.XCOM]).text == "Oslo"


def test_a_task_that_is_not_mapped_needs_none(prepare, run, stub, root):
    done = run(lambda: prepare(map_index_template="Oslo"))

    assert folders(root) == ["period=2026-03-01T000000Z"]
    assert MapKey.XCOM not in done.xcoms("prepare")
