"""Networks and callbacks of a user's own, on a real Spark session."""

import json

import pytest
from pyspark.sql import functions as F

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.ml import DistKerasModel
from tests.ml.estimator.linear import estimator, r2

pytestmark = pytest.mark.spark


CALLBACK = """
import json, keras
class Recorder(keras.callbacks.Callback):
    def write(self, *words):
        with open({path!r}, "a") as file:
            file.write(json.dumps(words) + "\\n")
    def on_train_begin(self, logs=None):
        self.write("begin")
    def on_epoch_end(self, epoch, logs=None):
        self.write(epoch, sorted(logs), float(sum(abs(w).sum() for w in self.model.get_weights())))
        if epoch == 2:
            self.model.stop_training = True
    def on_train_end(self, logs=None):
        self.write("end")
"""


@pytest.mark.parametrize(("place", "times"), [("chief", 1), ("every", 2)])
def test_callbacks_see_the_server_weights_and_may_stop_training(data, module, tmp_path, place, times):
    module(f"recorder_{place}", CALLBACK.format(path=str(tmp_path / "calls")))
    settings = {"num_epoch": 50, "communication_window": 2}
    model = estimator("LocalSGD", settings, callbacks=[f"recorder_{place}:Recorder"], callbacks_on=place).fit(data)
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert [line[0] for line in calls].count("begin") == [line[0] for line in calls].count("end") == times
    assert [line[0] for line in calls if line[0] not in ("begin", "end")].count(2) == times
    assert model.summary.epochs == 3
    assert {tuple(line[1]) for line in calls if len(line) == 3} == {("loss",)}
    end = sum(abs(w).sum() for w in model.keras_network().get_weights())
    assert [line for line in calls if len(line) == 3][-1][2] == pytest.approx(end, rel=1e-5)


def test_a_network_takes_its_features_in_its_own_shape(data, module):
    module(
        "shaped",
        "import keras\ndef build(shape):\n    k = keras.layers\n    return keras.Sequential([keras.Input(shape), k.Conv1D(4, 2), k.Flatten(), k.Dense(1)])\n",
    )
    model = estimator("SingleTrainer", {"num_epoch": 30}, layer_dims=None, network="shaped:build", input_shape=[2, 1]).fit(data)
    assert r2(model.transform(data)) > 0.95


TWO = """
import keras
def build():
    left, right = keras.Input((1,), name="left"), keras.Input((2,), name="right")
    joined = keras.layers.Concatenate()([left, right])
    price = keras.layers.Dense(1, name="price")(joined)
    kind = keras.layers.Dense(3, activation="softmax", name="kind")(keras.layers.Dense(16, activation="relu")(joined))
    return keras.Model([left, right], [price, kind])
"""


@pytest.mark.parametrize("named", [False, True])
def test_several_inputs_and_outputs(data, module, tmp_path, named):
    module("two", TWO)
    inputs, outputs = ["a", "features"], ["label", "kind"]
    model = estimator(
        "SingleTrainer", {"num_epoch": 80}, layer_dims=None, network="two:build", loss=["mse", "categorical_crossentropy"],
        featuresCols={"right": "features", "left": "a"} if named else inputs,
        labelCols={"kind": "kind", "price": "label"} if named else outputs, loss_weights=[0.5, 1.0],
    ).fit(data)  # fmt: skip
    model.write().save(str(tmp_path / "model"))
    for each in (model, DistKerasModel.load(str(tmp_path / "model"))):
        predicted = each.transform(data)
        assert dict(predicted.dtypes)["prediction_price"] == dict(predicted.dtypes)["prediction_kind"] == "double"
        assert r2(predicted.withColumnRenamed("prediction_price", "prediction")) > 0.95
        right = predicted.select(F.avg((F.col("prediction_kind") == F.col("kind")).cast("double"))).first()[0]
        assert right > 0.8
        assert predicted.first().probability_kind.toArray().sum() == pytest.approx(1.0, rel=1e-4)


def test_class_numbers_of_every_output_are_checked(data, module):
    module("two", TWO)
    fit = estimator(
        "SingleTrainer", layer_dims=None, network="two:build", loss=["mse", "categorical_crossentropy"],
        featuresCols=["a", "features"], labelCols=["label", "wrong"],
    ).fit  # fmt: skip
    with pytest.raises(DataError, match=r"expected class numbers 0 to 2 .* received [345]"):
        fit(data.withColumn("wrong", F.col("kind") + 3))
