"""Fits that begin with the weights of an earlier model, on a real Spark session."""

import numpy as np
import pytest
from pyspark.ml import PipelineModel

from airflow_provider_distkeras.contract.errors import ArtifactError
from tests.ml.estimator.linear import estimator, r2

pytestmark = pytest.mark.spark

#: A rate at which weights stay what they are.
STILL = {"optimizer": "sgd", "learning_rate": 1e-9}


@pytest.fixture(scope="module")
def earlier(data, tmp_path_factory):
    """A model of the rows, its labels standardized, and where it was saved."""
    path = str(tmp_path_factory.mktemp("earlier") / "model")
    model = estimator("SingleTrainer", {"num_epoch": 10}, label_transform="standardize").fit(data)
    PipelineModel([model]).save(path)
    return model, path


def test_a_fit_begins_where_the_earlier_one_ended(data, earlier):
    model, path = earlier
    again = estimator(
        "ADAG", {"num_workers": 2}, label_transform="standardize", initial_model=path, seed=9, **STILL
    ).fit(data)  # fmt: skip
    before, after = (np.array(m.transform(data).select("prediction").collect()) for m in (model, again))
    np.testing.assert_allclose(after, before, atol=1e-3)
    assert again.summary.started_from == f"2 of 2 layers from {path}"


def test_a_model_alone_will_do_and_every_fit_of_a_grid_begins_with_it(data, earlier, tmp_path):
    model, _ = earlier
    model.save(str(tmp_path / "model"))
    new = estimator("SingleTrainer", label_transform="standardize", initial_model=str(tmp_path / "model"), **STILL)
    models = dict(new.fitMultiple(data, [{new.batch_size: 16}, {new.batch_size: 64}]))
    assert [r2(m.transform(data)) for m in models.values()] == pytest.approx([r2(model.transform(data))] * 2, abs=1e-4)


def test_frozen_layers_stay_as_they_were_bit_for_bit(data, earlier, module):
    module(
        "frozen_first",
        "import keras\n"
        "def network(features):\n"
        "    first = keras.layers.Dense(8, activation='relu', trainable=False)\n"
        "    return keras.Sequential([keras.Input((features,)), first, keras.layers.Dense(1)])\n",
    )
    model, path = earlier
    again = estimator(
        "ADAG", {"num_workers": 2}, layer_dims=None, network="frozen_first:network", initial_model=path,
        label_transform="standardize",
    ).fit(data)  # fmt: skip
    before, after = (m.keras_network().layers for m in (model, again))
    dense = [[layer for layer in layers if layer.weights] for layers in (before, after)]
    for kept, trained in zip(dense[0][0].get_weights(), dense[1][0].get_weights(), strict=True):
        np.testing.assert_array_equal(trained, kept)
    assert (dense[1][1].get_weights()[0] != dense[0][1].get_weights()[0]).any()


def test_a_path_without_a_model_is_an_error_that_names_it(data, tmp_path):
    with pytest.raises(ArtifactError, match=f"initial_model: There is no saved pipeline or stage at {tmp_path}"):
        estimator(initial_model=str(tmp_path)).fit(data)
