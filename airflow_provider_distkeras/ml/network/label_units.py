"""Networks whose outputs are in the labels' own units, after training on transformed labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_provider_distkeras.contract.params.label_transforms import LOG1P, NONE
from airflow_provider_distkeras.training.backends.label_transform import LabelTransform
from airflow_provider_distkeras.training.backends.structure import input_structure, output_names

if TYPE_CHECKING:
    import keras


def in_label_units(network: keras.Model, transform: LabelTransform) -> keras.Model:
    """Return a network of the same layers, and behind each output layers that undo the transform of its labels.

    These are Keras' own, so that the saved network needs nothing else to be loaded.

    Args:
        network: trained on transformed labels.
        transform: of the labels.
    """
    import keras

    outputs, start = [], 0
    for kind, size, tensor in zip(transform.kinds, transform.sizes, network.outputs, strict=True):
        if kind != NONE:
            at = slice(start, start + size)
            tensor = _rescaled(tensor, transform.std[at], transform.mean[at])
            if kind == LOG1P:
                tensor = keras.layers.Activation("exponential", dtype="float32")(tensor)
                tensor = keras.layers.Rescaling(1.0, -1.0, dtype="float32")(tensor)
        outputs.append(tensor)
        start += size
    structure = network.outputs[0] if isinstance(network, keras.Sequential) else network.output
    return keras.Model(input_structure(network), keras.tree.pack_sequence_as(structure, outputs), name=network.name)


def output_activations(network: keras.Model) -> list[str | None]:
    """Return the activation of the layer that each output comes from; None for a layer that has none to name."""
    layers = {layer.name: layer for layer in network.layers}
    activations = [getattr(layers.get(name), "activation", None) for name in output_names(network)]
    return [getattr(activation, "__name__", None) for activation in activations]


def _rescaled(tensor: Any, std: tuple[float, ...], mean: tuple[float, ...]) -> Any:
    """Return outputs times deviations plus means, one of each per value of a row."""
    import keras

    scale, offset = (np.reshape(values, tensor.shape[1:]).tolist() if len(values) > 1 else values[0] for values in (std, mean))
    return keras.layers.Rescaling(scale, offset, dtype="float32")(tensor)
