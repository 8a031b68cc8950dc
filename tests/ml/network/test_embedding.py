"""Networks that embed indices, and networks with an input per column, against NumPy."""

import keras
import numpy as np
import pytest

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.feature_layout import FeatureLayout, FeatureSpan
from airflow_provider_distkeras.contract.params.network import check_network
from airflow_provider_distkeras.ml.network import serialization
from airflow_provider_distkeras.ml.network.builder import build_network
from airflow_provider_distkeras.ml.network.embedding import auto_dims, build_encoder
from airflow_provider_distkeras.training.backends.structure import output_names

LAYOUT = FeatureLayout(
    (
        FeatureSpan("temp", "number", 0, 1),
        FeatureSpan("store", "index", 1, 2, size=4),
        FeatureSpan("temp", "indicator", 2, 3),
        FeatureSpan("user id/ü", "index", 3, 4, size=70_000),
    )
)
ROWS = np.array([[0.5, 3, 1, 69_999], [-2, 0, 0, 69_998], [1, 1, 0, 0]], np.float32)


def built(layout=LAYOUT, members=1, **hyperparameters):
    usual = {"reg_strength": 0.0, "reg_decay": 1.0, "dropout_rate": 0.0, "loss": "mse"}
    sizes = {"0": layout.size if layout else 4}
    return build_network({**usual, **hyperparameters}, sizes, {"0": 1}, 1, keras.config.backend(), "sgd", members, layout)


def numbers(value):
    return keras.ops.convert_to_numpy(keras.ops.cast(value, "float32"))


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_every_index_becomes_its_vector_behind_the_other_features(dtype):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        encoder = build_encoder(LAYOUT, {"store": 3, "user id/ü": 2})
    finally:
        keras.config.set_dtype_policy(policy)
    stores, users = (numbers(table.value) for table in encoder.trainable_variables)
    assert (stores.shape, users.shape) == ((4, 3), (70_000, 2))
    expected = np.column_stack([ROWS[:, [0, 2]], stores[[3, 0, 1]], users[[69_999, 69_998, 0]]])
    np.testing.assert_allclose(numbers(encoder(ROWS)), expected, rtol=1e-2 if dtype != "float32" else 1e-6)


@pytest.mark.parametrize(
    ("dims", "widths"),
    [("auto", [auto_dims(4), 8]), (6, [6, 6]), ({"store": 2}, [2, 8])],
)
def test_widths_are_automatic_or_given_for_all_or_by_column(dims, widths):
    assert [table.shape[1] for table in build_encoder(LAYOUT, dims).trainable_variables] == widths


@pytest.mark.parametrize(("size", "width"), [(2, 2), (10, 6), (17, 8), (18, 8), (70_000, 8)])
def test_an_automatic_width_grows_with_the_categories_up_to_8(size, width):
    assert auto_dims(size) == width


def test_dense_layers_follow_and_a_saved_network_predicts_the_same():
    network = built(layer_dims=[None, 5, 1], embedding_dims=3).network
    assert network.layers[1].kernel.shape == (2 + 3 + 3, 5)
    loaded = serialization.from_bytes(serialization.to_bytes(network))
    np.testing.assert_allclose(numbers(loaded(ROWS)), numbers(network(ROWS)), rtol=1e-5)


def test_without_indices_or_a_layout_nothing_is_embedded():
    plain = FeatureLayout((FeatureSpan("v", "array", 0, 4),))
    for layout in (plain, None):
        assert [type(layer).__name__ for layer in built(layout, layer_dims=[None, 5, 1]).network.layers] == ["Dense", "Dense"]
        with pytest.raises(
            DataError, match=r"embedding_dims: 3 is .* the data has no column to embed\. Prepare it with categorica"
        ):
            built(layout, layer_dims=[None, 5, 1], embedding_dims=3)


def test_embedding_dims_of_a_column_that_is_no_index_or_of_another_network_are_refused():
    with pytest.raises(SpecError, match=r"in embedding_dims 'stroe'\. Did you mean 'store'\?"):
        built(layer_dims=[None, 1], embedding_dims={"stroe": 3})
    with pytest.raises(SpecError, match="embedding_dims is for layer_dims"):
        check_network({"network": "a:b", "embedding_dims": 3})


OWN = """
import keras
def build(layout):
    store = keras.Input((1,), name="store", dtype="int32")
    temp, others = keras.Input((2,), name="temp"), keras.Input((), name="features")
    vectors = keras.layers.Flatten()(keras.layers.Embedding(layout.sizes["store"], 2, name="stores")(store))
    joined = keras.layers.Concatenate()([vectors, temp, keras.layers.Reshape((1,))(others)])
    return keras.Model({"temp": temp, "store": store, "features": others}, keras.layers.Dense(1, name="price")(joined))
def lacking():
    store = keras.Input((1,), name="store")
    return keras.Model({"store": store}, keras.layers.Dense(1)(store))
def misshapen():
    temp, others = keras.Input((1,), name="temp"), keras.Input((2,), name="features")
    return keras.Model([temp, others], keras.layers.Dense(1)(keras.layers.Concatenate()([temp, others])))
def misnamed():
    store, others = keras.Input((1,), name="shop"), keras.Input((3,), name="features")
    return keras.Model([store, others], keras.layers.Dense(1)(keras.layers.Concatenate()([store, others])))
def sized(layout, shape, width=3):
    return keras.Sequential([keras.Input((shape,)), keras.layers.Dense(width), keras.layers.Dense(1)])
def whole(shape):
    return keras.Sequential([keras.Input((shape,), name="store"), keras.layers.Dense(1)])
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of networks."""
    (tmp_path / "column_networks.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "column_networks"


def test_inputs_named_after_columns_get_their_positions_and_features_the_rest(own):
    network = built(network=f"{own}:build").network
    stores, kernel, bias = (numbers(variable.value) for variable in network.trainable_variables)
    joined = np.column_stack([stores[[3, 0, 1]], ROWS[:, [0, 2]], ROWS[:, 3]])
    np.testing.assert_allclose(numbers(network(ROWS)), joined @ kernel + bias, rtol=1e-4)
    assert output_names(network) == ["price"]


def test_so_do_those_of_json_and_of_an_ensemble_and_of_a_saved_network(own):
    one = built(network=f"{own}:build")
    inner = next(layer for layer in one.network.layers if isinstance(layer, keras.Model))
    many = built(network=inner.to_json(), members=2)
    ensemble = many.trained(many.initial)
    loaded = serialization.from_bytes(serialization.to_bytes(ensemble))
    assert numbers(loaded(ROWS)).shape == (3, 1)
    np.testing.assert_allclose(numbers(loaded(ROWS)), numbers(ensemble(ROWS)), rtol=1e-5)


def test_one_input_for_all_features_takes_them_as_they_are_whatever_its_name(own):
    network = built(network=f"{own}:whole").network
    assert [tensor.shape for tensor in network.inputs] == [(None, 4)]
    assert len(network.layers) == 1


def test_an_input_that_is_no_column_beside_others_that_are_is_an_error(own):
    with pytest.raises(SpecError, match=r"Unknown column, of a network's input, 'shop'\. .*Valid: temp, store"):
        built(network=f"{own}:misnamed")


def test_a_function_with_a_layout_keeps_the_defaults_of_its_other_arguments(own):
    assert built(network=f"{own}:sized").network.layers[0].units == 3


@pytest.mark.parametrize(
    ("function", "layout", "message"),
    [
        ("lacking", LAYOUT, r"no input takes the columns 'temp', 'user id/ü'; the inputs are store\. Add one named 'features'"),
        ("misshapen", LAYOUT, r"the input 'temp' takes 1 values of shape \(1,\), and the data has 2 for it"),
        ("build", None, "takes a layout, and the data has none"),
    ],
)
def test_inputs_that_do_not_fit_the_columns_are_refused(own, function, layout, message):
    with pytest.raises(DataError, match=message):
        built(layout, network=f"{own}:{function}")
