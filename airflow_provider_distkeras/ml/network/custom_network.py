"""The user's own networks: from Keras JSON, or from a function of an importable module."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_provider_distkeras.contract.errors import SpecError

if TYPE_CHECKING:
    import keras


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


def build_custom_network(network: str, input_shape: list[int] | None, num_features: int) -> tuple[keras.Model, str | None]:
    """Return the user's network, and the module that a worker must import before it builds the network again.

    Args:
        network: Keras JSON, or 'package.module:function'.
        input_shape: the argument of the function; None for the number of features.
        num_features: features per row.

    Raises:
        SpecError: the JSON or the function gives no keras.Model.
    """
    if network.lstrip().startswith("{"):
        return _network_from_json(network), None
    module_name, _, function_name = network.partition(":")
    return _network_from_function(network, module_name, function_name, input_shape, num_features), module_name


def _network_from_json(config: str) -> keras.Model:
    import keras

    try:
        network = keras.models.model_from_json(config)
    except (ValueError, TypeError) as error:
        raise SpecError(f"network: not a Keras JSON configuration that may be loaded: {error}") from error
    if not isinstance(network, keras.Model):
        raise SpecError(f"network: the JSON is the configuration of no keras.Model, but of {type(network).__name__}.")
    return network


def _network_from_function(
    path: str, module_name: str, function_name: str, input_shape: list[int] | None, num_features: int
) -> keras.Model:
    import keras

    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SpecError(
            f"network: expected Keras JSON or 'package.module:function', received {path!r}: {error}. "
            "The module must be importable in the Spark driver and on the executors (py_files)."
        ) from error
    shape = tuple(input_shape) if input_shape else num_features
    try:
        network = function(shape) if inspect.signature(function).parameters else function()
    except Exception as error:  # the user's function may raise anything
        hint = "" if input_shape else " For images and sequences, set input_shape."
        raise SpecError(f"network: {path}({shape}) raised {type(error).__name__}: {error}.{hint}") from error
    if not isinstance(network, keras.Model):
        raise SpecError(f"network: {path} returned {type(network).__name__}, expected a keras.Model.")
    return network
