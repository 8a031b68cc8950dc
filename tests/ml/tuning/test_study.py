"""Studies without Spark: samplers, failures, limits, and the journal of an earlier study."""

import json
import threading

import pytest

from airflow_provider_distkeras.contract.errors import ArtifactError, DivergenceError, TrainingError
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


def test_every_trial_is_fitted_on_every_fold_and_the_best_is_chosen():
    subject = study(GridSampler([{"x": x} for x in (1, 5, 3)]))
    done = run_all(subject, lambda params: good(params["x"]), threads=4)
    assert sorted(done, key=repr) == sorted([({"x": x}, fold) for x in (1, 5, 3) for fold in range(FOLDS)], key=repr)
    assert subject.best_number() == 1
    assert subject.trials[1].mean("r2") == 5


def test_a_smaller_metric_is_better_where_it_is():
    subject = study(GridSampler([{"x": x} for x in (1, 5, 3)]), larger=False)
    run_all(subject, lambda params: good(params["x"]))
    assert subject.best_number() == 0


def test_a_trial_that_fails_stops_no_other_and_never_wins():
    subject = study(GridSampler([{"x": x} for x in (9, 5, 3)]))
    run_all(subject, lambda params: BAD if params["x"] == 9 else good(params["x"]))
    assert subject.best_number() == 1
    assert subject.trials[0].to_dict()["error"] == BAD.error
    assert subject.trials[0].mean("r2") is None


def test_when_all_trials_fail_the_most_frequent_error_is_raised():
    subject = study(GridSampler([{"x": 1}]))
    run_all(subject, lambda _: BAD)
    with pytest.raises(DivergenceError, match=r"the loss is nan\. Lower learning_rate"):
        subject.best_number()


def test_more_failures_than_the_limit_end_the_study():
    subject = study(GridSampler([{"x": x} for x in range(9)]), limits=StudyLimits(failed_trials=1))
    subject.tell(subject.ask(), BAD)
    for _ in range(FOLDS - 1):
        subject.tell(subject.ask(), BAD)
    with pytest.raises(TrainingError, match=r"2 trials failed, max_failed_trials allows 1\. The last error: DivergenceError"):
        subject.tell(subject.ask(), BAD)
    assert subject.ask() is None


def test_no_trial_begins_after_the_time_limit():
    subject = study(GridSampler([{"x": 1}]), limits=StudyLimits(seconds=0.0))
    assert subject.ask() is None
    with pytest.raises(TrainingError, match="No trial has ended: raise max_minutes"):
        subject.best_number()


@pytest.mark.parametrize("threads", [1, 4])
def test_halving_trains_few_trials_long_and_chooses_the_best(threads):
    sampler = AshaSampler([{"x": x} for x in range(27)], num_epoch=9, factor=3, larger_is_better=True)
    subject = study(sampler)
    done = run_all(subject, lambda params: good(params["x"] * params["num_epoch"]), threads)
    epochs = [params["num_epoch"] for params, fold in done if fold == 0]
    assert epochs.count(1) == 27
    assert 9 <= epochs.count(3) <= 18
    assert 3 <= epochs.count(9) <= 9
    assert subject.trials[subject.best_number()].params == {"x": 26, "num_epoch": 9}


def test_halving_promotes_no_trial_that_failed():
    sampler = AshaSampler([{"x": x} for x in range(4)], num_epoch=4, factor=2, larger_is_better=True)
    subject = study(sampler)
    run_all(subject, lambda params: BAD if params["x"] == 3 else good(params["x"]))
    assert subject.trials[subject.best_number()].params == {"x": 2, "num_epoch": 4}


def test_the_best_of_the_highest_rung_that_has_a_value_is_chosen():
    sampler = AshaSampler([{"x": x} for x in range(9)], num_epoch=9, factor=3, larger_is_better=True)
    subject = study(sampler)
    run_all(subject, lambda params: BAD if params["num_epoch"] == 9 else good(params["x"]))
    assert subject.trials[subject.best_number()].params == {"x": 8, "num_epoch": 3}


def test_optuna_s_trials_of_an_earlier_study_come_first_and_are_not_run_again(tmp_path):
    distributions = {"rate": {"loguniform": [1e-4, 1.0]}, "dims": {"choice": [[1, 2], None]}}

    def resumed_study(folder, *earlier):
        journal = Journal(LocalStorage(), f"{tmp_path}/{folder}", [f"{tmp_path}/{name}" for name in earlier])
        sampler = TpeSampler(distributions, 12, seed=0, larger_is_better=True, begun=journal.begun)
        return study(sampler, journal=journal)

    first, running = resumed_study("first"), []
    for _ in range(20):  # in another order than the next study would have it
        running.append(first.ask())
        if len(running) == 4:
            fit = running.pop(2)
            first.tell(fit, good(first.trials[fit.trial].params["rate"]))
    ended = sum(len(trial.results) for trial in first.trials)
    second = resumed_study("second", "first")
    done = run_all(second, lambda params: good(params["rate"]))
    assert len(second.trials) == 12
    assert len(done) == 12 * FOLDS - ended


def test_optuna_s_trials_come_near_the_best():
    distributions = {"rate": {"loguniform": [1e-4, 1.0]}, "units": {"int": [1, 8]}, "dims": {"choice": [[1, 2], None]}}
    subject = study(TpeSampler(distributions, 40, seed=0, larger_is_better=True))
    run_all(subject, lambda params: good(-abs(params["rate"] - 0.1) - abs(params["units"] - 5)))
    best = subject.trials[subject.best_number()].params
    assert len(subject.trials) == 40
    assert best["units"] == 5
    assert 0.02 < best["rate"] < 0.3
    assert best["dims"] in ([1, 2], None)


def test_fits_that_an_earlier_study_recorded_are_not_run_again(tmp_path):
    params = [{"x": x, "dims": [None, x]} for x in (1, 2, 3)]
    first = study(GridSampler(params), journal=Journal(LocalStorage(), f"{tmp_path}/first"))
    for _ in range(4):
        fit = first.ask()
        first.tell(fit, good(first.trials[fit.trial].params["x"]))
    assert first.ask().trial == 1  # it is cut off in the middle of the second trial
    journal = Journal(LocalStorage(), f"{tmp_path}/second", [f"{tmp_path}/first", f"{tmp_path}/none"])
    second = study(GridSampler(params), journal=journal)
    done = run_all(second, lambda params: good(params["x"]))
    assert done == [(params[1], 1), (params[1], 2), *((params[2], fold) for fold in range(FOLDS))]
    assert second.best_number() == 2
    assert [trial.values("r2") for trial in second.trials] == [[x] * FOLDS for x in (1, 2, 3)]
    third = study(GridSampler(params), journal=Journal(LocalStorage(), f"{tmp_path}/third", [f"{tmp_path}/second"]))
    assert run_all(third, lambda _: good(0)) == []
    assert third.best_number() == 2


def test_a_fit_that_failed_with_a_transient_error_is_run_again(tmp_path):
    journal = Journal(LocalStorage(), f"{tmp_path}/first")
    journal.record({"x": 1}, 0, BAD)
    journal.record({"x": 1}, 1, FoldResult(error="TrainingError: the executor was lost"))
    (tmp_path / "first" / ".half.json.0123").write_text('{"par')  # what a job that was killed was writing
    again = Journal(LocalStorage(), f"{tmp_path}/second", [f"{tmp_path}/first"])
    assert again.resume({"x": 1}, 0) == BAD
    assert again.resume({"x": 1}, 1) is None


def test_a_folder_around_the_records_that_is_gone_is_not_made_anew(tmp_path):
    journal = Journal(LocalStorage(), f"{tmp_path}/attempt/trials", within=f"{tmp_path}/attempt")
    with pytest.raises(ArtifactError, match="Cannot write"):
        journal.record({"x": 1}, 0, BAD)
    assert list(tmp_path.iterdir()) == []

    (tmp_path / "attempt").mkdir()
    journal.record({"x": 1}, 0, BAD)
    assert len(list((tmp_path / "attempt" / "trials").iterdir())) == 1


def test_a_record_of_an_earlier_version_is_taken_over(tmp_path):
    """The names and keys of these files are read by later versions too."""
    (tmp_path / "old").mkdir()
    result = {"metrics": {"r2": 0.5}, "error": None, "seconds": 1.5, "history": {"loss": [2.0, 1.0]}, "sample": [[1.0, 0.9]]}
    record = {"params": {"x": 1, "dims": [None, 2]}, "fold": 0, "outcome": result}
    (tmp_path / "old" / "aada3b6594996555aadd1c1d.json").write_text(json.dumps(record))
    journal = Journal(LocalStorage(), f"{tmp_path}/new", [f"{tmp_path}/old"])
    assert journal.begun == [record["params"]]
    assert journal.resume(record["params"], 0) == FoldResult({"r2": 0.5}, None, 1.5, {"loss": [2.0, 1.0]}, [[1.0, 0.9]])
    assert journal.resume(record["params"], 1) is None
    (copy,) = (tmp_path / "new").iterdir()
    assert json.loads(copy.read_text()) == record


def test_more_fits_are_only_those_that_need_no_waiting():
    subject = study(GridSampler([{"x": x} for x in range(3)]))
    assert subject.remaining == 9
    first = subject.ask()
    running = [first, *subject.ask_more(5)]
    assert subject.remaining == 3
    assert [(fit.trial, fit.fold) for fit in running] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    for fit in running:
        subject.tell(fit, good(fit.trial))
    rest = [subject.ask(), *subject.ask_more(99)]
    assert (len(rest), subject.remaining) == (3, 0)
    assert subject.ask_more(1) == []
    subject.stop()
    for fit in rest:
        subject.tell(fit, good(fit.trial))
    assert subject.ask() is None
    assert subject.best_number() == 2


def test_progress():
    subject = study(GridSampler([{"x": x} for x in (1, 5)]))
    before = subject.progress()
    for _ in range(FOLDS + 1):
        subject.tell(subject.ask(), FoldResult({"r2": 0.5}, history={"loss": [2.0, 1.0]}))
    after = subject.progress()
    assert (before.completed, before.expected, before.best) == (0, 2 * FOLDS, None)
    assert (after.completed, after.resumed, after.expected, after.epochs) == (FOLDS + 1, 0, 2 * FOLDS, 2 * (FOLDS + 1))
    assert after.best == (0, 0.5)


def test_the_best_so_far_is_the_smallest_where_smaller_is_better():
    subject = study(GridSampler([{"x": x} for x in (3, 1, 2)]), larger=False)
    run_all(subject, lambda params: good(params["x"]))
    assert subject.progress().best == (1, 1)


def test_halving_expects_its_promotions():
    subject = study(AshaSampler([{"x": x} for x in range(9)], num_epoch=9, factor=3, larger_is_better=True))
    expected = subject.progress().expected
    done = run_all(subject, lambda params: good(params["x"]))
    assert expected == (9 + 3 + 1) * FOLDS
    assert subject.progress().expected == len(done) >= expected - FOLDS


def test_progress_counts_the_time_of_a_limit():
    subject = study(GridSampler([{"x": 1}]), limits=StudyLimits(seconds=0.000001))
    assert subject.progress().elapsed > 1
