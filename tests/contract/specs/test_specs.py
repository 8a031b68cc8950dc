"""Specs: their checks, digests and aliases."""

import os
from dataclasses import dataclass
from typing import ClassVar

import pytest

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt, commit, committed
from airflow_provider_distkeras.contract.artifacts.manifest import Manifest
from airflow_provider_distkeras.contract.artifacts.request import Request
from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.files.storage import LocalStorage
from airflow_provider_distkeras.contract.params.trainers import TRAINERS
from airflow_provider_distkeras.contract.specs import JobDetails, PreprocessSpec, ScoreSpec, Spec, TrainSpec
from airflow_provider_distkeras.contract.specs.base import spec_field
from airflow_provider_distkeras.contract.specs.paths import uri
from airflow_provider_distkeras.training import trainers

NETWORK = {"layer_dims": [None, 8, 1]}
RANDOM = {"search": "random", "num_trials": 3, "param_distributions": {"dropout_rate": {"uniform": [0, 0.5]}}}


def train_spec(**fields):
    return TrainSpec.build(**{"dataset_path": "file:///data", "hyperparameters": dict(NETWORK), **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trainer": "adga"}, "trainer: Unknown trainer 'adga'. Did you mean 'ADAG'?"),
        ({"trainer_params": {"batchsize": 32}}, "Unknown parameter of ADAG 'batchsize'. Did you mean 'batch_size'?"),
        ({"trainer": "SingleTrainer", "trainer_params": {"num_workers": 2}}, "Unknown parameter of SingleTrainer 'num_workers'."),
        ({"hyperparameters": {"dropout": 0.2}}, "Unknown hyper-parameter 'dropout'. Did you mean 'dropout_rate'?"),
        ({"param_grid": {"dropuot_rate": [0.2]}}, "Unknown name in param_grid 'dropuot_rate'. Did you mean 'dropout_rate'?"),
        ({"param_grid": {"dropout_rate": [0.2, "high"]}}, "param_grid['dropout_rate'][1]: expected a number of at least 0"),
        ({"param_grid": {"dropout_rate": 0.2}}, "param_grid['dropout_rate']: expected a list of at least 1 values, received 0.2"),
        ({"param_grid": {"layer_dims": [[None, 4, 1]]}}, "'layer_dims' is both fixed and in param_grid"),
        ({"metrics": ["f1"]}, "Unknown metric of the regression evaluator 'f1'."),
        ({"num_trials": 3}, "num_trials: search='grid' tries all of param_grid; set search='random' or 'optuna'."),
        ({"search": "random", "param_grid": {"dropout_rate": [0.1]}}, "num_trials: search='random' needs to know how many"),
        ({"search": "optuna", "num_trials": 3}, "param_distributions: search='optuna' has nothing to draw from"),
        ({**RANDOM, "param_distributions": {"dropout_rate": {"uniform": [0.5]}}}, "expected a lower and a higher bound"),
        (
            {**RANDOM, "param_distributions": {"dropout_rate": {"uniform": [0.5, 1.5]}}},
            "['uniform']: expected a number of at least 0",
        ),
        (
            {**RANDOM, "param_distributions": {"dropout_rate": {"unifrom": [0, 0.5]}}},
            "Unknown distribution 'unifrom'. Did you mean 'uniform'?",
        ),
        ({**RANDOM, "param_distributions": {"dropout_rate": [0, 0.5]}}, "expected one distribution, such as"),
        (
            {**RANDOM, "param_distributions": {"batch_size": {"uniform": [8, 64]}}},
            "['uniform']: only whole numbers will do; draw them by {'int': [8, 64]}.",
        ),
        (
            {**RANDOM, "search": "optuna", "evaluator": "binary"},
            "evaluator: the loss 'mse' needs 'regression', received 'binary'.",
        ),
        (
            {**RANDOM, "param_distributions": {"layer_dims": {"choice": [[None, 4, 1]]}}},
            "is both fixed and in param_distributions",
        ),
        ({**RANDOM, "param_grid": {"dropout_rate": [0.1]}}, "is both in param_grid and in param_distributions"),
        ({"halving_factor": 2, "param_grid": {"num_epoch": [1, 2]}}, "halving_factor: halving decides num_epoch"),
        ({**RANDOM, "search": "optuna", "halving_factor": 3}, "halving_factor: halving is for search='grid' and 'random'"),
        ({"test_share": 1}, "test_share: expected a number of at least 0 and below 1, received 1 (int)."),
        ({"metric": "r3"}, "Unknown metric of the regression evaluator 'r3'. Did you mean 'r2'?"),
        ({"evaluator": "regresion"}, "evaluator: Unknown evaluator 'regresion'. Did you mean 'regression'?"),
        ({"num_folds": 0}, "num_folds: expected an integer of at least 1, received 0 (int)."),
        ({"refit": False}, "refit: 3 folds train as many networks; set num_folds=1, or leave refit out."),
        ({"fold_gap": -1}, "fold_gap: expected a number of at least 0, received -1 (int)."),
        ({"hyperparameters": {}}, "No network: set layer_dims"),
        ({"hyperparameters": {**NETWORK, "network": "m:f"}}, "Two networks:"),
        ({"hyperparameters": {**NETWORK, "activations": ["relu", "relu", "relu"]}}, "activations: expected 1 values"),
        ({"hyperparameters": {**NETWORK, "optimizer": {"name": "adam", "learning_rate": 1}}}, "set learning_rate as its own"),
        (
            {"hyperparameters": {**NETWORK, "lr_decay": 0.1}, "param_grid": {"lr_schedule": [None, "cosine"]}},
            "lr_decay: lr_schedule",
        ),
        ({"hyperparameters": {**NETWORK, "loss": "msq"}}, "hyperparameters['loss']: Unknown loss 'msq'. Did you mean 'mse'?"),
        ({"evaluator": "binary"}, "evaluator: the loss 'mse' needs 'regression', received 'binary'."),
        (
            {"hyperparameters": {**NETWORK, "loss": "binary_crossentropy"}},
            "needs 'binary' or 'multiclass', received 'regression'.",
        ),
        (
            {"hyperparameters": {"network": "m:f", "loss": ["mse", "binary_crossentropy"]}},
            "no evaluator judges outputs of different kinds together (regression, binary), received 'regression'.",
        ),
        (
            {"evaluator": "binary", "hyperparameters": {"layer_dims": [None, 3], "loss": "categorical_crossentropy"}},
            "'binary' judges two classes, the network has 3 outputs; use 'multiclass'.",
        ),
        ({"backend": "theano"}, "backend: Unknown backend 'theano'."),
        ({"sed": 1}, "Unknown argument of the train spec 'sed'. Did you mean 'seed'?"),
    ],
)
def test_a_wrong_train_spec_is_refused_with_the_fix(fields, message):
    with pytest.raises(SpecError) as error:
        train_spec(**fields)
    assert message in str(error.value)


def test_a_spec_needs_its_required_values():
    with pytest.raises(SpecError, match="The score spec lacks model_path"):
        ScoreSpec.build(input_path="x.csv")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"output_format": "xml"}, "output_format: Unknown output format 'xml'. Valid: parquet, csv, json."),
        ({"input_format": "orc"}, "input_format: Unknown input format 'orc'. Valid: csv, parquet."),
        ({"output_columns": ["prob"]}, "output_columns[0]: Unknown output column 'prob'."),
        ({"max_quarantined": 10}, "max_quarantined: expected a share from 0 to 1, received 10."),
        ({"partition_by": ["day"], "key_columns": ["id"]}, "partition_by: 'day' is not among key_columns ['id']: add it there."),
    ],
)
def test_a_wrong_score_spec_is_refused_with_the_fix(fields, message):
    with pytest.raises(SpecError) as error:
        ScoreSpec.build(model_path="m", input_path="x.csv", **fields)
    assert message in str(error.value)


def test_one_label_or_several():
    assert PreprocessSpec.build(input_path="x.csv", label_col=["y"]) == PreprocessSpec.build(input_path="x.csv", label_col="y")
    spec = PreprocessSpec.build(input_path="x.csv", label_col='["y", "z"]', weight_col="w", categorical_columns=["z"])
    assert (spec.label_col, spec.to_dict()["label_col"]) == (["y", "z"], ["y", "z"])
    assert spec.roles == {"label_y": "y", "label_z": "z", "weight": "w"}
    assert PreprocessSpec.build(input_path="x.csv").roles == {"label": "label"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"label_col": ["y", "z", "y"]}, "label_col: 'y' is there twice in ['y', 'z', 'y']: expected each label once."),
        ({"label_col": []}, "label_col: expected a list of at least 1 values, received [] (list)."),
        ({"label_col": ["y", 2]}, "label_col[1]: expected a text that is not empty, received 2 (int)."),
        ({"label_col": ["y", "z"], "weight_col": "z"}, "The column 'z' has two uses: expected one of label_col, weight_col,"),
        ({"label_col": ["y", "z"], "missing": {"z": "mean"}}, "missing['z']: Unknown policy 'mean'."),
    ],
)
def test_wrong_labels_are_refused_with_the_fix(fields, message):
    with pytest.raises(SpecError) as error:
        PreprocessSpec.build(input_path="x.csv", **fields)
    assert message in str(error.value)


def test_a_limit_of_drift_needs_something_to_drift_from():
    with pytest.raises(SpecError, match="needs compare_with"):
        PreprocessSpec.build(input_path="x.csv", max_drift=0.2)
    for nothing_yet in ("", "None"):
        assert PreprocessSpec.build(input_path="x.csv", max_drift=0.2, compare_with=nothing_yet).compare_with == ""


def test_trials_are_the_product_of_the_grid_in_a_fixed_order():
    spec = train_spec(param_grid={"loss": ["mse", "mae"], "dropout_rate": [0.2, 0.5]})
    assert spec.trials() == [
        {"dropout_rate": 0.2, "loss": "mse"},
        {"dropout_rate": 0.2, "loss": "mae"},
        {"dropout_rate": 0.5, "loss": "mse"},
        {"dropout_rate": 0.5, "loss": "mae"},
    ]


def test_the_digest_depends_on_values_alone():
    assert train_spec(seed=1).sha256 == train_spec(seed="1").sha256
    assert train_spec(seed=1).sha256 != train_spec(seed=2).sha256


def test_a_field_that_came_later_leaves_the_digest_as_it_was_until_it_is_set():
    digest = PreprocessSpec.build(input_path="/a.csv").sha256
    assert digest.startswith("dd883cf2")
    assert PreprocessSpec.build(input_path="/a.csv", input_format=None).sha256 == digest
    assert PreprocessSpec.build(input_path="/a.csv", input_format="csv").sha256 != digest
    assert train_spec(refit=True, fold_gap=0.0).sha256 == train_spec().sha256 != train_spec(fold_gap=1.0).sha256


def test_a_request_survives_the_file_between_operator_and_job():
    request = Request(
        PreprocessSpec.build(input_path="a.csv", columns_renamed={"cnt": "label"}), Attempt("p", "a"), {"a.csv": "3 bytes"}
    )
    assert Request.from_json(request.to_json()) == request


def test_earlier_names_of_fields_are_accepted():
    fields = {**{name: value for name, value in RANDOM.items() if name != "num_trials"}, "num_cells": 3, "max_failed_cells": 1}
    assert train_spec(**fields) == train_spec(**RANDOM, max_failed_trials=1)
    with pytest.raises(SpecError, match="num_trials: received num_cells too, which is its earlier name"):
        train_spec(**RANDOM, num_cells=3)


def test_paths_are_uris():
    spec = ScoreSpec.build(model_path="/m", input_path=["a b/*.csv", "s3a://b/x"])
    assert (spec.model_path, spec.input_path) == ("file:///m", [f"file://{os.getcwd()}/a b/*.csv", "s3a://b/x"])
    assert ScoreSpec.build(**spec.to_dict()) == spec


@pytest.mark.parametrize(
    "path",
    [
        "hdfs://host:8020/a@b.csv", "hdfs://me@host:8020/a:b@c", "abfss://files@account.dfs.core.windows.net/a", "s3a://b/a:1@2",
        "file:///a:b@c.csv", "/a:b@c.csv", "hdfs://host:8020",
    ],
)  # fmt: skip
def test_a_port_a_container_and_signs_in_names_are_no_passwords(path):
    assert ScoreSpec.build(model_path="/m", input_path=path).input_path == [path if "://" in path else f"file://{path}"]


@pytest.mark.parametrize("path", [
        "s3a://key:se/cr+et@bucket/a", "hdfs://me:12ab@host/a", "s3a://key:123@bucket", "x://:p@h/a", " s3a://a:b@bucket/c",
        "s3a://key:1/secret@bucket", "s3a://key%3Asecret@bucket", "s3a://key@bucket/a", "{/a,s3a://key:secret@bucket/b}",
        "https://account/container/a.csv?sv=1&sig=abc", "abfss://files@account/a?sig=abc",
        "https%3A%2F%2Fann%3Ahunter22%40h/x", "wasbs%3A//ann:hunter22@h",
    ],
)  # fmt: skip
def test_a_password_in_a_path_is_refused(path):
    with pytest.raises(SpecError, match=r"input_path\[0\]: expected a URI without user and password, or signature") as refused:
        ScoreSpec.build(model_path="/m", input_path=path)
    scheme, mark, rest = path.strip().partition("://")
    received = f"received one with them, of {scheme}://. Give" if mark and "," not in scheme else "received one with them. Give"
    assert received in str(refused.value)
    assert (rest or path) not in str(refused.value)


def test_a_password_in_a_value_of_another_type_is_not_repeated():
    with pytest.raises(SpecError, match=r"model_path: expected a text .*, received what holds a password \(list\)"):
        ScoreSpec.build(model_path=["https://ann:hunter22@h/x"], input_path="/a")


def test_every_trainer_of_params_exists_and_takes_its_defaults():
    for name, fields in TRAINERS.items():
        assert trainers.get(name)().parameters == {parameter: field.default for parameter, field in fields.items()}


def test_trials_are_drawn_alike_for_the_same_seed_and_within_their_bounds():
    fields = {
        "search": "random",
        "num_trials": 200,
        "param_grid": {"optimizer": ["sgd", "adam"]},
        "param_distributions": {"learning_rate": {"loguniform": [1e-4, 1e-1]}, "batch_size": {"int": [8, 10]}},
    }
    trials = train_spec(**fields).trials()
    assert trials == train_spec(**fields).trials() != train_spec(**fields, seed=1).trials()
    assert {trial["batch_size"] for trial in trials} == {8, 9, 10}
    assert {trial["optimizer"] for trial in trials} == {"sgd", "adam"}
    rates = sorted(trial["learning_rate"] for trial in trials)
    assert 1e-4 <= rates[0] < 3e-4 < rates[100] < 3e-2 < rates[-1] <= 1e-1


def test_no_trial_is_drawn_twice():
    fields = {"search": "random", "num_trials": 9, "param_grid": {"optimizer": ["sgd", "adam"], "batch_size": [8, 16]}}
    trials = train_spec(**fields).trials()
    assert len(trials) == 4
    assert len({repr(trial) for trial in trials}) == 4


def test_only_one_way_to_make_folds():
    with pytest.raises(SpecError, match=r"one way to make folds, received \{'fold_col': 'f', 'time_col': 't'\}"):
        PreprocessSpec.build(input_path="x.csv", fold_col="f", time_col="t")
    assert PreprocessSpec.build(input_path="x.csv", group_col="g", time_col="t").time_col == "t"


def test_the_spec_of_a_new_job_needs_no_registry(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class ToastDetails(JobDetails):
        slices: int = 0

    @dataclass(frozen=True, kw_only=True)
    class ToastSpec(Spec):
        kind: ClassVar[str] = "toast"
        result_fields: ClassVar[tuple[str, ...]] = ("toast_path",)
        main_artifact: ClassVar[str] = "toast_path"
        details_class: ClassVar[type[JobDetails]] = ToastDetails

        bread_path: str = spec_field(uri, "The bread.")

    request = Request(
        ToastSpec.build(bread_path="/bread"), Attempt(f"{tmp_path}/period=1", "20260301T120000000000Z-g0-t1-1a3be997")
    )
    manifest = Manifest("toast", request.spec.sha256, {"toast_path": "/t"}, details=ToastDetails(slices=2))
    LocalStorage().write_bytes(request.attempt.spec_path, request.to_json().encode())
    commit(LocalStorage(), request.attempt, manifest)

    assert Request.from_json(request.to_json()) == request
    assert committed(LocalStorage(), request.attempt.period_path) == manifest


@pytest.mark.parametrize(
    ("fields", "modules"),
    [
        ({"hyperparameters": NETWORK}, set()),
        ({"hyperparameters": {"network": "nets.deep:build", "custom_objects": ["layers"]}}, {"nets.deep", "layers"}),
        ({"hyperparameters": {"network": "{}"}, "param_grid": {"custom_objects": [["a"], ["b"]]}}, {"a", "b"}),
        ({"hyperparameters": {}, "param_grid": {"network": ["a:build", "{}"]}}, {"a"}),
        (
            {
                "search": "random",
                "num_trials": 2,
                "hyperparameters": {},
                "param_distributions": {"network": {"choice": ["a:f", "b:f"]}},
            },
            {"a", "b"},
        ),
    ],
)
def test_the_modules_that_networks_import(fields, modules):
    assert train_spec(**fields).network_modules == modules
