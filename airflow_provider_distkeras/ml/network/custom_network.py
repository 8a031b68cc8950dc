"""The user's own networks: from Keras JSON, or from a function of an importable module."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_distkeras.contract.errors import DataError, SpecError
from airflow_provider_distkeras.contract.feature_layout import FeatureLayout
from airflow_provider_distkeras.spark.imports import import_object
from airflow_provider_distkeras.training.backends import NetworkPlan, weights

if TYPE_CHECKING:
    import keras

#: The argument by which a function takes the layout of the features.
_LAYOUT = "layout"
#: The kinds of arguments that may be given by name.
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def import_modules(modules: Iterable[str]) -> None:
    """Import the modules that register custom objects with Keras. Raise SpecError for one that cannot be imported."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise SpecError(
                f"custom_objects: cannot import {module!r}: {error}. "
                "It must be importable in the Spark driver and on the executors (py_files)."
            ) from error


def build_custom_network(
    network: str, input_shape: list[int] | None, num_features: int, layout: FeatureLayout | None = None
) -> tuple[keras.Model, str | None]:
    """Return the user's network, and the module that a worker must import before it builds the network again.

    Args:
        network: Keras JSON, or 'package.module:function'.
        input_shape: the argument of the function; None for the number of features.
        num_features: features per row.
        layout: of the features, for a function with an argument of that name; None if it is unknown.

    Raises:
        SpecError: the JSON or the function gives no keras.Model, or one that does not take the rows.
        DataError: the function takes a layout and the data has none.
    """
    shape = tuple(input_shape or [num_features])
    if network.lstrip().startswith("{"):
        return _with_constant_statistics(_with_inputs(_network_from_json(network), shape)), None
    built = _network_from_function(network, input_shape or num_features, layout)
    return _with_constant_statistics(_with_inputs(built, shape)), network.partition(":")[0]


def check_rebuilt(network: keras.Model, plan: NetworkPlan) -> None:
    """Raise SpecError unless a worker can build the network again from its plan, with the same weights."""
    try:
        shapes = [tuple(variable.shape) for variable in weights.variables(plan.build())]
    except Exception as error:  # the user's classes may raise anything
        raise _not_rebuilt(error) from error
    if shapes != [tuple(variable.shape) for variable in weights.variables(network)]:
        raise SpecError(
            "network: built again from its configuration, it has other weights. The get_config of its classes must return all "
            "arguments that they were made with."
        )


def config_of(network: keras.Model) -> str:
    """Return a network's configuration as JSON. Raise SpecError for one with classes that have none."""
    try:
        return str(network.to_json())
    except Exception as error:  # the user's classes may raise anything
        raise _not_rebuilt(error) from error


def _not_rebuilt(error: Exception) -> SpecError:
    missing = re.search(r"Could not locate (?:class|function) '(\w+)'", str(error))
    lines = [line.strip() for line in str(error).split(". ")[0].splitlines() if line.strip()]
    reason = f"{missing[1]} is not registered" if missing else lines[0] if lines else type(error).__name__
    return SpecError(
        f"network: a worker cannot build it again from its configuration: {reason}. Give classes and functions of your own "
        "@keras.saving.register_keras_serializable(), and classes a get_config; write a Lambda layer as such a class."
    )


def _with_inputs(network: keras.Model, shape: tuple[int, ...]) -> keras.Model:
    """Return a network with an input: for one that takes its shape from the first rows, that of a row's features."""
    import keras

    if getattr(network, "inputs", None):
        return network
    try:
        if isinstance(network, keras.Sequential):
            network.build((None, *shape))
            return network
        inputs = keras.Input(shape, name="features")
        return keras.Model(inputs, network(inputs))
    except Exception as error:  # the user's network may raise anything
        raise SpecError(
            f"network: it has no Input, and does not take rows of shape {shape}: {type(error).__name__}: {error}. "
            "For images and sequences, set input_shape; for several inputs, return a keras.Model(inputs, outputs)."
        ) from error


def _with_constant_statistics(network: keras.Model) -> keras.Model:
    """Return a network whose adapted Normalization layers hold their statistics as constants: training must not move them.

    Raises:
        SpecError: such a layer was not adapted.
    """
    import keras

    layers = [layer for layer in network._flatten_layers() if isinstance(layer, keras.layers.Normalization)]
    adapted = {layer.name: layer for layer in layers if layer.weights}
    if not adapted:
        return network
    for layer in adapted.values():
        mean, variance = _statistics_of(layer)
        if not np.any(mean) and np.all(variance == 1):  # what the layer begins with
            raise SpecError(
                f"network: the layer {layer.name!r} was not adapted. Call its adapt(...) in the function that returns the "
                "network, or give it mean and variance; in JSON it can have these only."
            )
    constant = keras.models.model_from_json(json.dumps(_with_statistics(json.loads(network.to_json()), adapted)))
    statistics = {id(variable) for layer in adapted.values() for variable in layer.weights}
    retained = [variable for variable in network.weights if id(variable) not in statistics]
    if len(constant.weights) != len(retained):
        raise SpecError(
            f"network: the Normalization {min(adapted)!r} is inside a class of your own, whose configuration does not hold what "
            "it was adapted to: give it mean and variance."
        )
    for new, variable in zip(constant.weights, retained, strict=True):
        new.assign(variable)
    return constant


def _with_statistics(node: Any, adapted: Mapping[str, Any]) -> Any:
    """Return a part of a network's configuration in which Normalization layers have a mean and a variance."""
    if isinstance(node, list):
        return [_with_statistics(item, adapted) for item in node]
    if not isinstance(node, dict):
        return node
    layer = adapted.get(str((node.get("config") or {}).get("name"))) if node.get("class_name") == "Normalization" else None
    if layer is None:
        return {key: _with_statistics(value, adapted) for key, value in node.items()}
    mean, variance = (values.tolist() for values in _statistics_of(layer))
    return {**node, "config": {**node["config"], "mean": mean, "variance": variance}}


def _statistics_of(layer: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean and the variance that a Normalization layer was adapted to."""
    import keras

    return keras.ops.convert_to_numpy(layer.adapt_mean), keras.ops.convert_to_numpy(layer.adapt_variance)


def _network_from_json(config: str) -> keras.Model:
    import keras

    try:
        network = keras.models.model_from_json(config)
    except (ValueError, TypeError) as error:
        raise SpecError(f"network: not a Keras JSON configuration that may be loaded: {error}") from error
    if not isinstance(network, keras.Model):
        raise SpecError(f"network: the JSON is the configuration of no keras.Model, but of {type(network).__name__}.")
    return network


def _network_from_function(path: str, input_shape: list[int] | int, layout: FeatureLayout | None) -> keras.Model:
    import keras

    function = import_object(path, "network", "Keras JSON or 'package.module:function'")
    shape = tuple(input_shape) if isinstance(input_shape, list) else input_shape
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:  # of a type that is not written in Python
        raise SpecError(f"network: {path} is no function that returns a keras.Model: {error}.") from error
    if _LAYOUT in parameters and layout is None:
        raise DataError(
            f"network: {path} takes a layout, and the data has none: it was prepared by an earlier version, or has several "
            "featuresCols. Prepare it again, or leave the argument out."
        )
    try:
        if _LAYOUT in parameters:  # other arguments with defaults are the user's own
            required = [name for name, each in parameters.items() if each.default is each.empty and each.kind in _BY_NAME]
            network = function(**{name: layout if name == _LAYOUT else shape for name in dict.fromkeys([_LAYOUT, *required])})
        else:
            network = function(*([shape] if parameters else []))
    except Exception as error:  # the user's function may raise anything
        hint = "" if isinstance(shape, tuple) else " For images and sequences, set input_shape."
        raise SpecError(f"network: {path}({shape}) raised {type(error).__name__}: {error}.{hint}") from error
    if not isinstance(network, keras.Model):
        raise SpecError(f"network: {path} returned {type(network).__name__}, expected a keras.Model.")
    return network
