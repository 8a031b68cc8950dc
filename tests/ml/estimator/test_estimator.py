"""The Estimator and its Model on a real Spark session."""

import json

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel, evaluation, tuning
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import ArtifactError, DataError, DivergenceError, SpecError, TrainingError
from airflow_provider_distkeras.contract.params.fitting import FITTING
from airflow_provider_distkeras.contract.params.network import HYPERPARAMETERS
from airflow_provider_distkeras.contract.params.trainers import TRAINER_PARAMETERS
from airflow_provider_distkeras.ml import DistKeras, DistKerasModel
from airflow_provider_distkeras.training import trainers

pytestmark = pytest.mark.spark

FAST = {"batch_size": 16, "num_epoch": 2, "num_workers": 2, "communication_window": 3}


@pytest.fixture(scope="module")
def data(spark):
    """300 rows of y = 2a - 3b + 1, and two classes."""
    random = np.random.default_rng(0).normal(size=(300, 2))
    rows = [(float(a), float(b), float(2 * a - 3 * b + 1), float(a > b)) for a, b in random]
    frame = spark.createDataFrame(rows, ["a", "b", "label", "class"])
    return VectorAssembler(inputCols=["a", "b"], outputCol="features").transform(frame).cache()


def r2():
    return evaluation.RegressionEvaluator(metricName="r2")


def regression(trainer=trainers.ADAG, trainer_params=None, **params):
    options = {"layer_dims": [None, 8, 1], "optimizer": "adam", "learning_rate": 0.05, "seed": 1, **params}
    return DistKeras(trainer, {**FAST, **(trainer_params or {})}, **options)


@pytest.fixture(scope="module")
def fitted(data):
    return regression(trainer_params={"num_epoch": 20}).fit(data)


def test_the_model_learns_and_predicts_doubles(fitted, data):
    predicted = fitted.transform(data)
    assert dict(predicted.dtypes)["prediction"] == "double"
    assert predicted.columns == [*data.columns, "prediction"]
    assert r2().evaluate(predicted) > 0.95


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_row_is_trained_num_epoch_times(data, workers):
    summary = regression(trainer_params={"num_workers": workers, "batch_size": 7, "num_epoch": 3}).fit(data).summary
    assert summary.rows == 300
    assert summary.rows_trained == 900
    assert len(summary.workers) == workers
    assert len(summary.loss) == 3


def test_the_single_trainer_is_keras_fit(data):
    """Full batches, no shuffling that matters: gradient descent as Keras does it, from the same weights."""
    estimator = DistKeras(
        "SingleTrainer",
        {"batch_size": 300, "num_epoch": 5},
        layer_dims=[None, 8, 1],
        activations=["tanh"],
        learning_rate=0.1,
        seed=3,
    )
    model = estimator.fit(data)
    from airflow_provider_distkeras.ml.network.builder import build_network

    network = build_network({**estimator.values_of(HYPERPARAMETERS)}, {"0": 2}, {"0": 1}, 3, "tensorflow", "sgd").network
    import keras

    network.compile(keras.optimizers.SGD(0.1), "mse")
    rows = np.array(data.select("a", "b", "label").collect(), np.float32)
    network.fit(rows[:, :2], rows[:, 2], batch_size=300, epochs=5, verbose=0)
    for ours, theirs in zip(model.keras_network().get_weights(), network.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_the_learning_rate_decays_with_the_steps_of_all_workers(data):
    """With so fast a decay hardly anything after the first steps may move."""
    still = regression(lr_decay=1e9, trainer_params={"num_workers": 1}).fit(data)
    moving = regression(trainer_params={"num_workers": 1}).fit(data)
    assert abs(still.summary.loss[0] - still.summary.loss[1]) < abs(moving.summary.loss[0] - moving.summary.loss[1])


@pytest.mark.parametrize(("loss", "layer_dims"), [("binary_crossentropy", [None, 8, 1]), ("categorical_crossentropy", [2, 8, 2])])
def test_classes_come_with_probabilities_and_raw_predictions(data, loss, layer_dims):
    model = regression(loss=loss, layer_dims=layer_dims, labelCol="class", trainer_params={"num_epoch": 10}).fit(data)
    predicted = model.transform(data)
    assert dict(predicted.dtypes)["probability"] == "vector"
    assert dict(predicted.dtypes)["rawPrediction"] == "vector"
    row = predicted.select("prediction", vector_to_array("probability").alias("p")).first()
    assert sum(row.p) == pytest.approx(1.0, abs=1e-5)
    assert row.prediction == float(np.argmax(row.p))
    assert evaluation.BinaryClassificationEvaluator(labelCol="class").evaluate(predicted) > 0.95
    accuracy = evaluation.MulticlassClassificationEvaluator(labelCol="class", metricName="accuracy").evaluate(predicted)
    assert accuracy > 0.9


def test_cross_validation_trains_every_point_with_its_own_values(data):
    estimator = regression()
    grid = (
        tuning.ParamGridBuilder()
        .baseOn([estimator.regularizer, "l1_l2"], [estimator.reg_strength, 1e-3])
        .addGrid(estimator.activations, [["tanh"]])
        .addGrid(estimator.layer_dims, [[2, 8, 1], [2, 4, 1]])
        .addGrid(estimator.num_epoch, [1, 3])
        .build()
    )
    validator = tuning.CrossValidator(
        estimator=estimator, estimatorParamMaps=grid, evaluator=r2(), numFolds=2, collectSubModels=True, parallelism=2
    )
    fitted = validator.fit(data)
    trained = [(m.keras_network().layers[0].units, m.summary.epochs) for m in fitted.subModels[0]]
    assert trained == [(point[estimator.layer_dims][1], point[estimator.num_epoch]) for point in grid]
    assert len(fitted.avgMetrics) == 4
    assert "prediction" in fitted.transform(data).columns


def test_a_param_map_that_diverges_ranks_last_but_a_fit_that_diverges_raises(data, caplog):
    estimator = regression(optimizer="sgd")
    wild = {estimator.learning_rate: 1e30}
    validator = tuning.CrossValidator(
        estimator=estimator, estimatorParamMaps=[wild, {estimator.learning_rate: 0.01}], evaluator=r2(), numFolds=2
    )
    fitted = validator.fit(data)
    assert fitted.avgMetrics[0] == float("-inf")
    assert fitted.bestModel.getOrDefault("learning_rate") == 0.01
    with pytest.raises(DivergenceError, match=r"Worker \d on .* failed: Training diverged: the loss is .* Lower learning_rate"):
        estimator.fit(data, wild)


def test_the_model_of_a_diverged_fit_predicts_infinity_without_a_network(data):
    model = regression(featuresCols={"x": "features"}).diverged()
    assert model.transform(data).select("prediction").first()[0] == float("inf")


def test_model_and_estimator_can_be_saved(data, fitted, tmp_path):
    path = f"file://{tmp_path}/model"
    fitted.write().save(path)
    again = DistKerasModel.load(path)
    assert again.uid == fitted.uid
    assert again.summary == fitted.summary
    assert again.extractParamMap().keys() == fitted.extractParamMap().keys()
    assert predictions(again, data) == predictions(fitted, data)
    estimator = regression(regularizer="l2")
    estimator.write().save(f"{tmp_path}/estimator")
    loaded = DistKeras.load(f"{tmp_path}/estimator")
    assert {p.name: v for p, v in loaded.extractParamMap().items()} == {p.name: v for p, v in estimator.extractParamMap().items()}


def test_the_model_can_be_saved_in_pipelines_and_cross_validation(data, tmp_path):
    assembler = VectorAssembler(inputCols=["a", "b"], outputCol="again")
    estimator = regression(featuresCol="again")
    pipeline = Pipeline(stages=[assembler, estimator]).fit(data)
    pipeline.write().save(f"{tmp_path}/pipeline")
    assert predictions(PipelineModel.load(f"{tmp_path}/pipeline"), data) == predictions(pipeline, data)
    estimator = regression()
    grid = [{estimator.dropout_rate: 0.1}]
    fitted = tuning.CrossValidator(estimator=estimator, estimatorParamMaps=grid, evaluator=r2(), numFolds=2).fit(data)
    fitted.write().save(f"{tmp_path}/cv")
    assert predictions(tuning.CrossValidatorModel.load(f"{tmp_path}/cv"), data) == predictions(fitted, data)


def predictions(model, data):
    return [row.prediction for row in model.transform(data).orderBy("a").select("prediction").collect()]


def test_a_network_that_was_tampered_with_is_not_loaded(fitted, tmp_path):
    path = tmp_path / "model"
    fitted.write().save(str(path))
    network = path / "network.keras"
    network.write_bytes(network.read_bytes() + b"x")
    with pytest.raises(ArtifactError, match=r"is not the one that was saved: its sha256 is \w+, expected \w+"):
        DistKerasModel.load(str(path))


def test_a_network_of_ones_own(data, module):
    module(
        "mynets",
        "import keras\n"
        "@keras.saving.register_keras_serializable('mynets')\n"
        "class Twice(keras.layers.Layer):\n"
        "    def call(self, x):\n        return 2 * x\n"
        "def build(features):\n"
        "    return keras.Sequential([keras.Input((features,)), keras.layers.Dense(8, 'relu'), Twice(),"
        " keras.layers.BatchNormalization(), keras.layers.Dense(1)])\n",
    )
    estimator = regression(layer_dims=None, network="mynets:build", trainer_params={"num_epoch": 80})
    model = estimator.fit(data)
    assert r2().evaluate(model.transform(data)) > 0.8
    config = model.keras_network().to_json()
    by_config = regression(layer_dims=None, network=config).fit(data)
    assert [layer.name for layer in by_config.keras_network().layers] == [layer.name for layer in model.keras_network().layers]


def test_a_network_that_carries_code_is_refused(data):
    import keras

    config = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x), keras.layers.Dense(1)]).to_json()
    with pytest.raises(SpecError, match="not a Keras JSON configuration that may be loaded"):
        regression(layer_dims=None, network=config).fit(data)


def test_a_data_error_of_a_worker_reaches_the_driver_in_one_line(data):
    holed = data.withColumn("features", F.when(F.col("a") > 2, F.array(F.lit(1.0))).otherwise(vector_to_array("features")))
    with pytest.raises(DataError) as error:
        regression().fit(holed)
    assert "rows of different lengths" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_layer_that_raises_fails_the_fit(data, module):
    module(
        "badnets",
        "import keras\n"
        "@keras.saving.register_keras_serializable('badnets')\n"
        "class Breaks(keras.layers.Layer):\n"
        "    def call(self, x, training=False):\n"
        "        if training:\n            raise RuntimeError('this layer is broken')\n"
        "        return x\n"
        "def build(features):\n"
        "    return keras.Sequential([keras.Input((features,)), Breaks(), keras.layers.Dense(1)])\n",
    )
    with pytest.raises(TrainingError, match="this layer is broken"):
        regression(layer_dims=None, network="badnets:build").fit(data)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"layer_dims": [3, 8, 1]}, DataError, "layer_dims[0] is 3, but the data has 2 features. Set it to 2, or to null"),
        ({"layer_dims": [None, 8, 2]}, SpecError, "A regression on one label needs 1 output, the network has 2"),
        ({"layer_dims": None}, SpecError, "No network: set layer_dims"),
        (
            {"activations": ["reluu"]},
            SpecError,
            "A layer with activation 'reluu' and initializer 'glorot_uniform' cannot be built",
        ),
        ({"optimizer": "adamm"}, SpecError, "optimizer: Keras cannot make 'adamm'"),
        ({"optimizer": {"name": "adam", "beta": 1}}, SpecError, "optimizer: Keras cannot make 'adam' with {'beta': 1}"),
        (
            {"network": "no.such:thing", "layer_dims": None},
            SpecError,
            "network: expected Keras JSON or 'package.module:function'",
        ),
        ({"labelCol": "lable"}, DataError, "labelCol: Unknown column 'lable'. Did you mean 'label'?"),
        ({"featuresCol": "a"}, DataError, "featuresCol: expected vectors or arrays of numbers in 'a', received double"),
        ({"labelCol": "features"}, SpecError, "A row has 2 labels, the network 1 outputs (loss mse)"),
        ({"labelCol": "name"}, DataError, "labelCol: expected numbers in 'name', received string"),
        (
            {"loss": "binary_crossentropy"},
            DataError,
            "labelCol: expected class numbers 0 to 1 (loss binary_crossentropy, 1 output)",
        ),
    ],
)
def test_params_that_cannot_be_trained_are_refused_with_the_fix(data, params, error, message):
    with pytest.raises(error) as raised:
        regression(**params).fit(data.withColumn("name", F.lit("x")))
    assert message in str(raised.value)


@pytest.mark.parametrize(("loss", "units"), [("binary_crossentropy", 1), ("categorical_crossentropy", 2)])
def test_a_class_that_the_network_has_no_output_for_is_refused(data, loss, units):
    three = data.withColumn("class", F.when(F.col("a") > 1, 2.0).otherwise(F.col("class")))
    with pytest.raises(DataError, match=r"expected class numbers 0 to 1 .* received 2\. For more classes"):
        regression(loss=loss, layer_dims=[None, 8, units], labelCol="class").fit(three)


def test_a_backend_that_is_not_installed_is_refused(data, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SpecError, match=r"backend: 'jax' is not installed.*pip install jax"):
        regression(backend="jax").fit(data)


def test_more_workers_than_rows_are_refused(data):
    with pytest.raises(DataError, match="4 workers for 3 rows: set num_workers to at most the number of rows"):
        regression(trainer_params={"num_workers": 4}).fit(data.limit(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DistKeras("ADGA"), "Unknown trainer 'ADGA'. Did you mean 'ADAG'?"),
        (
            lambda: DistKeras(trainers.ADAG, {"num_epochs": 3}),
            "Unknown parameter of ADAG 'num_epochs'. Did you mean 'num_epoch'?",
        ),
        (lambda: DistKeras(dropout=0.2), "Unknown Param of DistKeras 'dropout'. Did you mean 'dropout_rate'?"),
        (lambda: DistKeras(dropout_rate=1.5), "dropout_rate: expected a number of at least 0 and below 1, received 1.5"),
        (
            lambda: tuning.ParamGridBuilder().addGrid(DistKeras().num_epoch, [1, "two"]).build(),
            "num_epoch: expected an integer of at least 1, received 'two'",
        ),
    ],
)
def test_wrong_params_are_refused_at_once(spark, make, message):
    with pytest.raises(SpecError) as error:
        make()
    assert message in str(error.value)


def test_a_parameter_of_another_trainer_is_refused(data):
    with pytest.raises(SpecError, match="Unknown parameter of SingleTrainer 'communication_window'"):
        DistKeras("SingleTrainer", layer_dims=[None, 1], communication_window=3).fit(data)


@pytest.mark.parametrize("stage", [DistKeras, DistKerasModel])
def test_every_name_of_the_contract_is_a_param(spark, stage):
    for name, field in {**TRAINER_PARAMETERS, **HYPERPARAMETERS, **FITTING}.items():
        param = stage().getParam(name)
        assert (param.name, param.doc) == (getattr(stage, name).name, field.doc)


def test_params_explain_themselves(spark):
    assert "reg_decay: Factor of alpha from each hidden layer to the next" in DistKeras().explainParams()
    assert json.loads(json.dumps({p.name: v for p, v in regression().extractParamMap().items()}))
