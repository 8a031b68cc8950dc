"""Runs on executors. The inputs and outputs of a network; a Sequential, which has one of each, is like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def input_structure(network: keras.Model) -> Any:
    """Return the structure of a network's inputs: one tensor, a list or a dict."""
    import keras

    return network.inputs[0] if isinstance(network, keras.Sequential) else network.input


def input_names(network: keras.Model) -> list[str]:
    """Return the names of a network's inputs, in its order."""
    return [tensor.name for tensor in network.inputs]


def output_names(network: keras.Model) -> list[str]:
    """Return the names of a network's outputs, in its order."""
    import keras

    return [network.layers[-1].name] if isinstance(network, keras.Sequential) else list(network.output_names)
