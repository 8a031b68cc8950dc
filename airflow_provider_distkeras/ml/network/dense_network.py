"""Networks of dense layers, built from `layer_dims` and its companions."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.feature_layout import FeatureLayout
from airflow_provider_distkeras.contract.params.losses import is_positive, task_of
from airflow_provider_distkeras.contract.params.objectives import losses, tasks
from airflow_provider_distkeras.ml.network.embedding import build_encoder, check_has_indices

if TYPE_CHECKING:
    import keras


def build_dense_network(hyperparameters: dict[str, Any], num_features: int, layout: FeatureLayout | None = None) -> keras.Model:
    """Return a network of dense layers with new weights, behind Embeddings of features that are indices.

    Args:
        hyperparameters: `layer_dims`, `activations`, `initializers`, `regularizer`, `reg_strength`, `reg_decay`,
            `dropout_rate`, `embedding_dims`, `loss` and `task`, checked.
        num_features: features per row.
        layout: of the features; None if it is unknown.

    Raises:
        DataError: `layer_dims` expects another number of features, or `embedding_dims` features that are not there.
        SpecError: Keras cannot build a layer, or `embedding_dims` names a column that is no index.
    """
    import keras

    features, *hidden, outputs = hyperparameters["layer_dims"]
    if features not in (None, num_features):
        raise DataError(
            f"layer_dims[0] is {features}, but the data has {num_features} features. "
            f"Set it to {num_features}, or to null to take what the data has."
        )
    activations = hyperparameters.get("activations") or ["relu"] * len(hidden)
    initializers = hyperparameters.get("initializers") or ["glorot_uniform"] * len(hidden)
    strength, decay = hyperparameters["reg_strength"], hyperparameters["reg_decay"]
    alphas = itertools.accumulate(hidden, lambda alpha, _: alpha * decay, initial=strength)
    layers: list[keras.layers.Layer] = [keras.Input((num_features,), name="features")]
    embedding_dims = hyperparameters.get("embedding_dims", "auto")
    check_has_indices(layout, embedding_dims)
    if layout and layout.sizes:
        layers.append(build_encoder(layout, embedding_dims))
    for units, activation, initializer, alpha in zip(hidden, activations, initializers, alphas, strict=False):
        layers.append(_dense_layer(units, activation, initializer, _regularizer(hyperparameters.get("regularizer"), alpha)))
        if hyperparameters["dropout_rate"]:
            layers.append(keras.layers.Dropout(hyperparameters["dropout_rate"]))
    default = _output_activation(hyperparameters, outputs)
    activation = activations[len(hidden)] if len(activations) > len(hidden) else default
    initializer = initializers[len(hidden)] if len(initializers) > len(hidden) else "glorot_uniform"
    layers.append(_dense_layer(outputs, activation, initializer, None))
    return keras.Sequential(layers)


def _dense_layer(units: int, activation: str, initializer: str, regularizer: Any) -> keras.layers.Layer:
    import keras

    try:
        return keras.layers.Dense(units, activation=activation, kernel_initializer=initializer, kernel_regularizer=regularizer)
    except ValueError as error:
        raise SpecError(
            f"A layer with activation {activation!r} and initializer {initializer!r} cannot be built: {error}"
        ) from error


def _regularizer(name: str | None, alpha: float) -> Any:
    import keras

    if name is None:
        return None
    build = {"l1": keras.regularizers.L1, "l2": keras.regularizers.L2, "l1_l2": lambda a: keras.regularizers.L1L2(l1=a, l2=a)}
    return build[name](alpha)


def _output_activation(hyperparameters: dict[str, Any], outputs: int) -> str:
    loss = losses(hyperparameters)[0]
    task = task_of(loss, tasks(hyperparameters)[0], labels=outputs)
    if task == "regression":
        return "exponential" if is_positive(loss) else "linear"
    return "softmax" if task == "multiclass" or (task == "binary" and outputs == 2) else "sigmoid"
