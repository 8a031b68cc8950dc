"""Networks with an input per column: each is fed with its column's positions in the features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from airflow_provider_distkeras.contract.errors import DataError, unknown_name
from airflow_provider_distkeras.contract.feature_layout import FeatureLayout
from airflow_provider_distkeras.training.backends.structure import input_structure, output_names

if TYPE_CHECKING:
    import keras

#: The input that takes the columns without one of their own.
OTHERS = "features"


def fed_by_columns(network: keras.Model, layout: FeatureLayout | None) -> keras.Model:
    """Return a network of one input, the features, around one with inputs named after columns; any other as it is.

    A network with one input for all features takes them as they are, whatever its name.

    Args:
        network: a network with inputs.
        layout: of the features; None if it is unknown.

    Raises:
        DataError: an input has another shape than its column, or a column has no input.
        SpecError: some inputs are named after columns, and others are not.
    """
    import keras

    if layout is None or not _takes_columns(network, layout):
        return network
    named = [tensor.name for tensor in network.inputs]
    others = [column for column in layout.columns if column not in named]
    if others and OTHERS not in named:
        raise DataError(
            f"network: no input takes the columns {', '.join(map(repr, others))}; the inputs are {', '.join(named)}. Add "
            f"one named {OTHERS!r} for them, or leave them out by excluded_columns."
        )
    features = keras.Input((layout.size,), name="features")
    parts = [_part(features, tensor, layout.positions(*(others if tensor.name == OTHERS else [tensor.name])))
             for tensor in network.inputs]  # fmt: skip
    outputs = network(keras.tree.pack_sequence_as(input_structure(network), parts))
    # Layers with the outputs' names, by which losses and labels are told apart.
    ends = [
        keras.layers.Activation("linear", name=name, dtype=tensor.dtype)(tensor)
        for name, tensor in zip(output_names(network), keras.tree.flatten(outputs), strict=True)
    ]
    return keras.Model(features, ends if len(ends) > 1 else ends[0])


def _takes_columns(network: keras.Model, layout: FeatureLayout) -> bool:
    """Return whether a network's inputs are named after columns, and perhaps `OTHERS`."""
    names = [tensor.name for tensor in network.inputs]
    shapes = [tensor.shape[1:] for tensor in network.inputs]
    if len(names) == 1 and None not in shapes[0] and math.prod(shapes[0]) == layout.size:
        return False
    unknown = [name for name in names if name not in (*layout.columns, OTHERS)]
    if len(unknown) == len(names):
        return False
    if unknown:  # by position it would get other columns than its neighbours, which are taken by name
        raise unknown_name("column, of a network's input,", unknown[0], (*layout.columns, OTHERS))
    return any(name in layout.columns for name in names)


def _part(features: Any, tensor: Any, positions: list[int]) -> Any:
    """Return the features at some positions as an input takes them."""
    import keras

    shape = tuple(tensor.shape[1:])
    if None not in shape and math.prod(shape) != len(positions):
        raise DataError(
            f"network: the input {tensor.name!r} takes {math.prod(shape)} values of shape {shape}, and the data has "
            f"{len(positions)} for it."
        )
    part = keras.ops.take(features, positions, axis=1)
    if len(shape) != 1:
        part = keras.ops.reshape(part, (-1, *(size or -1 for size in shape)))
    return part if tensor.dtype == part.dtype else keras.ops.cast(part, tensor.dtype)
