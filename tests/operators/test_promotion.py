"""The champion of a name: its promotion, its use in scoring, and its asset events, with a stub in place of Spark."""

import os

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_distkeras.contract.artifacts.champions import Champions
from airflow_provider_distkeras.contract.files.storage import LocalStorage, local_path
from airflow_provider_distkeras.operators import (
    DistKerasPromoteOperator,
    DistKerasScoreOperator,
    DistKerasTrainOperator,
    csv_to_scores_group,
)
from tests.fixtures.dag_run import APRIL, MARCH

pytestmark = pytest.mark.airflow

NETWORK = {"layer_dims": [None, 8, 1]}


@pytest.fixture
def champions(root):
    return Champions(LocalStorage(), f"file://{root}", "bikes")


@pytest.fixture
def promote(prepare, csv, root):
    """Makes a promote task, and, unless a model is given, the tasks prepare and train before it."""

    def pipeline(model_path=None, **arguments):
        if model_path is None:
            dataset = prepare().output["dataset_path"]
            trained = DistKerasTrainOperator(
                task_id="train", dataset_path=dataset, hyperparameters=NETWORK, artifact_root=str(root)
            )
            model_path = trained.output["model_path"]
        return DistKerasPromoteOperator(
            **{
                "task_id": "promote", "champion": "bikes", "model_path": model_path, "input_path": str(csv),
                "artifact_root": str(root), "outlets": [Asset("bikes_champion")],
            } | arguments
        )  # fmt: skip

    return pipeline


@pytest.fixture
def score(csv, root):
    """Makes a task that scores with the champion."""
    return lambda **arguments: DistKerasScoreOperator(
        **{"task_id": "score", "champion": "bikes", "input_path": str(csv), "artifact_root": str(root)} | arguments
    )


def kinds(stub):
    """The jobs that were submitted."""
    return [os.path.basename(call["argv"][-3]).removesuffix(".py") for call in stub.calls()]


def test_the_first_challenger_becomes_the_champion(stub, run, promote, champions):
    done = run(promote)

    model = done.xcoms("train")["model_path"]
    result = done.xcoms("promote")
    assert (done.state, result["promoted"], result["champion_path"]) == ("success", True, model)
    assert result["metrics"] == {"challenger": {"r2": 0.9}}
    present = champions.present()
    assert (present.model_path, present.period, present.task) == (model, "2026-03-01T000000Z", "dag.promote")
    assert (present.run_id, present.manifest_path) == (done.dag_run.run_id, result["manifest_path"])
    event = done.asset_events()["bikes_champion"]
    assert (event["uri"], event["kind"], event["period"]) == (model, "promote", "2026-03-01T000000Z")
    assert event["metrics"] == {"challenger": {"r2": 0.9}}
    assert (event["champion"], event["margin"], event["threshold"]) == ("bikes", 0.0, None)


def test_a_better_challenger_replaces_the_champion(stub, run, promote, champions):
    first = run(promote)
    second = run(promote, logical_date=APRIL)

    assert second.xcoms("promote")["metrics"] == {"challenger": {"r2": 0.9}, "champion": {"r2": 0.8}}
    assert [champion.model_path for champion in champions.history()] == [
        done.xcoms("train")["model_path"] for done in (first, second)
    ]


def test_a_challenger_that_is_not_better_is_skipped_without_an_asset_event(stub, run, promote, champions):
    first = run(promote)
    stub.metrics(challenger=0.85, champion=0.8)
    second = run(lambda: promote(margin="{{ 0.1 }}"), logical_date=APRIL)

    result = second.xcoms("promote")
    assert (second.states()["promote"], result["promoted"]) == ("skipped", False)
    assert result["champion_path"] == first.xcoms("train")["model_path"]
    assert result["reason"] == "r2 0.85 against the champion's 0.8 is not better by more than 0.1"
    assert {key: result[key] for key in result["return_value"]} == result["return_value"]
    assert second.asset_events() == {}
    assert len(champions.history()) == 1


def test_downstream_tasks_run_if_their_trigger_rule_allows_skipped_ones(stub, run, promote, score):
    run(promote)
    stub.metrics(challenger=0.7, champion=0.8)
    done = run(lambda: promote() >> [score(), score(task_id="always", trigger_rule="none_failed")], logical_date=APRIL)

    assert {name: done.states()[name] for name in ("promote", "score", "always")} == {
        "promote": "skipped", "score": "skipped", "always": "success",
    }  # fmt: skip


def test_a_first_challenger_must_reach_the_threshold(stub, run, promote, champions):
    done = run(lambda: promote(threshold=0.95))

    result = done.xcoms("promote")
    assert (done.states()["promote"], result["promoted"], result["champion_path"]) == ("skipped", False, None)
    assert champions.present() is None


def test_a_backfill_does_not_move_the_champion_back_in_time_without_allow_older(stub, run, promote, champions):
    run(promote, logical_date=APRIL)
    backfill = run(promote, logical_date=MARCH)

    assert backfill.states()["promote"] == "skipped"
    assert "which is of a newer period (2026-04-01T000000Z, not 2026-03-01T000000Z)" in backfill.xcoms("promote")["reason"]
    assert champions.present().period == "2026-04-01T000000Z"

    run(lambda: promote(allow_older=True), logical_date=MARCH)

    assert champions.present().period == "2026-03-01T000000Z"


@pytest.mark.parametrize("if_exists", ["overwrite", "reuse"])
def test_a_challenger_that_is_the_champion_already_stays_it(stub, run, promote, champions, if_exists):
    """As when a task is cleared."""
    first = run(promote)
    model, result = first.xcoms("train")["model_path"], first.xcoms("promote")["return_value"]
    again = run(lambda: promote(model_path=model, if_exists=if_exists))

    assert kinds(stub).count("promote") == 1
    assert again.state == "success"
    assert again.xcoms("promote")["return_value"] == result
    assert again.asset_events()["bikes_champion"]["champion_path"] == model
    assert len(champions.history()) == 1


def test_a_decision_against_a_challenger_is_reused_while_the_champion_is_the_same(stub, run, promote):
    run(promote)
    stub.metrics(challenger=0.7, champion=0.8)
    model = run(promote, logical_date=APRIL).xcoms("train")["model_path"]
    again = run(lambda: promote(model_path=model, if_exists="reuse"), logical_date=APRIL)

    assert kinds(stub).count("promote") == 2
    assert (again.states()["promote"], again.xcoms("promote")["promoted"]) == ("skipped", False)


def test_a_job_that_fails_leaves_the_champion(stub, run, promote, champions):
    run(promote)
    before = champions.history()
    challenger = run(lambda: promote(champion="other"), logical_date=APRIL).xcoms("train")["model_path"]
    stub.mode("permanent")
    failed = run(lambda: promote(model_path=challenger), logical_date=APRIL)

    assert failed.message == "The column 'temp' holds text."
    assert champions.history() == before


def test_the_error_about_a_champion_whose_model_is_gone_names_the_fix(stub, run, promote, champions):
    first = run(promote)
    local_path(first.xcoms("train")["manifest_path"]).unlink()
    failed = run(promote, logical_date=APRIL)

    record = champions.present().record_path
    assert failed.message.startswith("The model of the champion of 'bikes' cannot be read. champion: expected what")
    assert failed.message.endswith(f"Restore it, or delete the record {record}: then the champion before it counts again.")
    local_path(record).unlink()
    assert run(promote, logical_date=APRIL).state == "success"


def test_a_dataset_is_no_challenger(stub, run, prepare, promote):
    failed = run(lambda: promote(model_path=prepare(task_id="again").output["dataset_path"]))

    assert "model_path: expected what a train task returned, received " in failed.message
    assert isinstance(failed.errors[-1], AirflowFailException)


def test_a_score_task_takes_the_champion_that_there_is_when_it_runs(stub, run, promote, score):
    model = run(promote).xcoms("train")["model_path"]
    done = run(score, logical_date=APRIL)

    assert done.state == "success"
    assert done.xcoms("score")["model_path"] == model


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "champion: there is no champion of 'bikes' in file://{root}/champions/bikes. Promote a model first"),
        ({"champion": None}, "Expected either model_path or champion, received None and None: set one of them."),
        ({"model_path": "m"}, "Expected either model_path or champion, received 'm' and 'bikes': set one of them."),
    ],
)
def test_a_score_task_without_one_model_is_refused_with_the_fix(stub, run, score, root, arguments, message):
    failed = run(lambda: score(**arguments))

    assert failed.message.startswith(message.format(root=root))
    assert isinstance(failed.errors[-1], AirflowFailException)
    assert stub.calls() == []


def test_the_group_is_the_three_tasks_one_fed_by_the_other(stub, run, csv, root):
    done = run(
        lambda: csv_to_scores_group(
            "bikes",
            input_path=str(csv),
            new_path=str(csv),
            prepare={"columns_renamed": {"cnt": "label"}},
            train={"hyperparameters": NETWORK},
            score={"key_columns": ["temp"]},
            artifact_root=str(root),
            num_executors=3,
        )
    )

    assert done.states() == {"bikes.prepare": "success", "bikes.train": "success", "bikes.score": "success"}
    assert done.xcoms("bikes.score")["model_path"] == done.xcoms("bikes.train")["model_path"]
    assert all("--num-executors" in call["argv"] for call in stub.calls())


@pytest.fixture
def run_as(run, monkeypatch):
    """Runs tasks as `run` does, in a run that has no logical date, but a partition key, or events that triggered it."""
    from airflow.models import dagrun

    create = dagrun.get_or_create_dagrun

    def run_tasks(make, *, partition_key=None, events=()):
        def create_as(**arguments):
            made, session = create(**arguments), arguments["session"]
            made.partition_key = partition_key
            made.consumed_asset_events.extend(session.merge(event) for event in events)
            session.commit()
            return made

        with monkeypatch.context() as patched:
            patched.setattr(dagrun, "get_or_create_dagrun", create_as)
            return run(make, logical_date=None)

    return run_tasks


def test_the_events_and_the_champion_of_a_partitioned_run_are_of_its_partition(stub, run_as, promote, score, champions):
    done = run_as(lambda: promote() >> score(outlets=[Asset("bikes_scores")]), partition_key="2026-03-01")

    assert done.state == "success"
    events = done.asset_events()
    assert {name: event["period"] for name, event in events.items()} == {
        "bikes_champion": "2026-03-01",
        "bikes_scores": "2026-03-01",
    }
    assert {event.partition_key for event in done.raw_asset_events()} == {"2026-03-01"}
    assert champions.present().period == "2026-03-01"


def test_a_backfilled_partition_does_not_move_the_champion_back_in_time(stub, run_as, promote, champions):
    run_as(promote, partition_key="2026-04-01")
    backfill = run_as(promote, partition_key="2026-03-01")

    assert backfill.states()["promote"] == "skipped"
    assert champions.present().period == "2026-04-01"


def test_a_score_task_takes_the_model_of_the_event_that_triggered_its_run(stub, run, run_as, promote, score):
    first = run(promote)
    run(promote, logical_date=APRIL)
    template = "{{ (triggering_asset_events.values() | first | last).extra.champion_path }}"
    done = run_as(lambda: score(champion=None, model_path=template), events=first.raw_asset_events())

    assert done.xcoms("score")["model_path"] == first.xcoms("train")["model_path"]
