"""Studies without Spark: samplers, failures, limits, and the journal of an earlier study."""

import threading

import pytest

from airflow_provider_distkeras.contract.errors import DivergenceError, TrainingError
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.ml.tuning.journal import Journal
from airflow_provider_distkeras.ml.tuning.samplers import AshaSampler, GridSampler, TpeSampler
from airflow_provider_distkeras.ml.tuning.study import Study, StudyLimits
from airflow_provider_distkeras.ml.tuning.trial import FoldResult

FOLDS = 3


def study(sampler, larger=True, **options):
    return Study(sampler, FOLDS, "r2", larger_is_better=larger, **options)


def run_all(study, evaluate, threads=1):
    """Run a study's fits by a function from a trial's params to a result; return the fits in order."""
    done = []

    def work():
        while (fit := study.ask()) is not None:
            params = study.trials[fit.trial].params
            done.append((params, fit.fold))
            study.tell(fit, evaluate(params))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return done


def good(value):
    return FoldResult({"r2": value})


BAD = FoldResult(error="DivergenceError: the loss is nan.")


def test_every_cell_is_measured_on_every_fold_and_the_best_is_found():
    search = study(GridSampler([{"x": x} for x in (1, 5, 3)]))
    done = run_all(search, lambda params: good(params["x"]), threads=4)
    assert sorted(done, key=repr) == sorted([({"x": x}, fold) for x in (1, 5, 3) for fold in range(FOLDS)], key=repr)
    assert search.best_number() == 1
    assert search.trials[1].mean("r2") == 5


def test_less_is_better_where_it_is():
    search = study(GridSampler([{"x": x} for x in (1, 5, 3)]), larger=False)
    run_all(search, lambda params: good(params["x"]))
    assert search.best_number() == 0


def test_a_cell_that_fails_stops_no_other_and_never_wins():
    search = study(GridSampler([{"x": x} for x in (9, 5, 3)]))
    run_all(search, lambda params: BAD if params["x"] == 9 else good(params["x"]))
    assert search.best_number() == 1
    assert search.trials[0].to_dict()["error"] == BAD.error
    assert search.trials[0].mean("r2") is None


def test_when_all_fail_the_commonest_cause_is_raised():
    search = study(GridSampler([{"x": 1}]))
    run_all(search, lambda _: BAD)
    with pytest.raises(DivergenceError, match=r"the loss is nan\. Lower learning_rate"):
        search.best_number()


def test_more_failures_than_may_be_end_the_search():
    search = study(GridSampler([{"x": x} for x in range(9)]), limits=StudyLimits(failed_trials=1))
    search.tell(search.ask(), BAD)
    for _ in range(FOLDS - 1):
        search.tell(search.ask(), BAD)
    with pytest.raises(TrainingError, match=r"2 trials failed, max_failed_trials allows 1\. The last error: DivergenceError"):
        search.tell(search.ask(), BAD)
    assert search.ask() is None


def test_no_cell_is_begun_after_its_time():
    search = study(GridSampler([{"x": 1}]), limits=StudyLimits(seconds=0.0))
    assert search.ask() is None
    with pytest.raises(TrainingError, match="No trial has ended: raise max_minutes"):
        search.best_number()


@pytest.mark.parametrize("threads", [1, 4])
def test_halving_trains_few_cells_long_and_finds_the_best(threads):
    sampler = AshaSampler([{"x": x} for x in range(27)], num_epoch=9, factor=3, larger_is_better=True)
    search = study(sampler)
    done = run_all(search, lambda params: good(params["x"] * params["num_epoch"]), threads)
    epochs = [params["num_epoch"] for params, fold in done if fold == 0]
    assert epochs.count(1) == 27
    assert 9 <= epochs.count(3) <= 18
    assert 3 <= epochs.count(9) <= 9
    assert search.trials[search.best_number()].params == {"x": 26, "num_epoch": 9}


def test_halving_gives_up_cells_that_fail():
    sampler = AshaSampler([{"x": x} for x in range(4)], num_epoch=4, factor=2, larger_is_better=True)
    search = study(sampler)
    run_all(search, lambda params: BAD if params["x"] == 3 else good(params["x"]))
    assert search.trials[search.best_number()].params == {"x": 2, "num_epoch": 4}


def test_the_best_of_those_that_came_furthest_is_chosen_where_the_last_ones_fail():
    sampler = AshaSampler([{"x": x} for x in range(9)], num_epoch=9, factor=3, larger_is_better=True)
    search = study(sampler)
    run_all(search, lambda params: BAD if params["num_epoch"] == 9 else good(params["x"]))
    assert search.trials[search.best_number()].params == {"x": 8, "num_epoch": 3}


def test_optuna_s_cells_of_an_earlier_search_come_first_and_are_not_run_again(tmp_path):
    said = {"rate": {"loguniform": [1e-4, 1.0]}, "dims": {"choice": [[1, 2], None]}}

    def search(folder, *earlier):
        journal = Journal(LocalStorage(), f"{tmp_path}/{folder}", [f"{tmp_path}/{name}" for name in earlier])
        sampler = TpeSampler(said, 12, seed=0, larger_is_better=True, begun=journal.begun)
        return study(sampler, journal=journal)

    first, taken = search("first"), []
    for _ in range(20):  # in another order than the next search would have it
        taken.append(first.ask())
        if len(taken) == 4:
            trial = taken.pop(2)
            first.tell(trial, good(first.trials[trial.trial].params["rate"]))
    ended = sum(len(cell.results) for cell in first.trials)
    second = search("second", "first")
    done = run_all(second, lambda params: good(params["rate"]))
    assert len(second.trials) == 12
    assert len(done) == 12 * FOLDS - ended


def test_optuna_s_cells_come_near_the_best():
    said = {"rate": {"loguniform": [1e-4, 1.0]}, "units": {"int": [1, 8]}, "dims": {"choice": [[1, 2], None]}}
    search = study(TpeSampler(said, 40, seed=0, larger_is_better=True))
    run_all(search, lambda params: good(-abs(params["rate"] - 0.1) - abs(params["units"] - 5)))
    best = search.trials[search.best_number()].params
    assert len(search.trials) == 40
    assert best["units"] == 5
    assert 0.02 < best["rate"] < 0.3
    assert best["dims"] in ([1, 2], None)


def test_what_an_earlier_search_recorded_is_not_run_again(tmp_path):
    cells = [{"x": x, "dims": [None, x]} for x in (1, 2, 3)]
    first = study(GridSampler(cells), journal=Journal(LocalStorage(), f"{tmp_path}/first"))
    for _ in range(4):
        trial = first.ask()
        first.tell(trial, good(first.trials[trial.trial].params["x"]))
    assert first.ask().trial == 1  # it is cut off in the middle of the second cell
    journal = Journal(LocalStorage(), f"{tmp_path}/second", [f"{tmp_path}/first", f"{tmp_path}/none"])
    second = study(GridSampler(cells), journal=journal)
    done = run_all(second, lambda params: good(params["x"]))
    assert done == [(cells[1], 1), (cells[1], 2), *((cells[2], fold) for fold in range(FOLDS))]
    assert second.best_number() == 2
    assert [cell.values("r2") for cell in second.trials] == [[x] * FOLDS for x in (1, 2, 3)]
    third = study(GridSampler(cells), journal=Journal(LocalStorage(), f"{tmp_path}/third", [f"{tmp_path}/second"]))
    assert run_all(third, lambda _: good(0)) == []
    assert third.best_number() == 2


def test_what_failed_for_a_passing_reason_is_tried_again(tmp_path):
    journal = Journal(LocalStorage(), f"{tmp_path}/first")
    journal.record({"x": 1}, 0, BAD)
    journal.record({"x": 1}, 1, FoldResult(error="TrainingError: the executor was lost"))
    (tmp_path / "first" / ".half.json.0123").write_text('{"par')  # what a job that was killed was writing
    again = Journal(LocalStorage(), f"{tmp_path}/second", [f"{tmp_path}/first"])
    assert again.resume({"x": 1}, 0) == BAD
    assert again.resume({"x": 1}, 1) is None


def test_more_trials_at_once_are_none_that_would_have_to_be_waited_for():
    search = study(GridSampler([{"x": x} for x in range(3)]))
    assert search.remaining == 9
    first = search.ask()
    taken = [first, *search.ask_more(5)]
    assert search.remaining == 3
    assert [(trial.trial, trial.fold) for trial in taken] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    for trial in taken:
        search.tell(trial, good(trial.trial))
    rest = [search.ask(), *search.ask_more(99)]
    assert (len(rest), search.remaining) == (3, 0)
    assert search.ask_more(1) == []
    search.stop()
    for trial in rest:
        search.tell(trial, good(trial.trial))
    assert search.ask() is None
    assert search.best_number() == 2


def test_how_far_a_search_is():
    search = study(GridSampler([{"x": x} for x in (1, 5)]))
    before = search.progress()
    for _ in range(FOLDS + 1):
        search.tell(search.ask(), FoldResult({"r2": 0.5}, history={"loss": [2.0, 1.0]}))
    after = search.progress()
    assert (before.completed, before.expected, before.best) == (0, 2 * FOLDS, None)
    assert (after.completed, after.resumed, after.expected, after.epochs) == (FOLDS + 1, 0, 2 * FOLDS, 2 * (FOLDS + 1))
    assert after.best == (0, 0.5)


def test_the_best_so_far_is_the_least_where_less_is_better():
    search = study(GridSampler([{"x": x} for x in (3, 1, 2)]), larger=False)
    run_all(search, lambda params: good(params["x"]))
    assert search.progress().best == (1, 1)


def test_of_halving_its_promotions_are_expected_too():
    search = study(AshaSampler([{"x": x} for x in range(9)], num_epoch=9, factor=3, larger_is_better=True))
    expected = search.progress().expected
    done = run_all(search, lambda params: good(params["x"]))
    assert expected == (9 + 3 + 1) * FOLDS
    assert search.progress().expected == len(done) >= expected - FOLDS


def test_of_a_search_with_a_limit_the_time_counts():
    search = study(GridSampler([{"x": 1}]), limits=StudyLimits(seconds=0.000001))
    assert search.progress().elapsed > 1
