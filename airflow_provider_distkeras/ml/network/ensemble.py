"""Ensembles: one network whose output is the mean of its members' outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_distkeras.ml.network.label_units import in_label_units
from airflow_provider_distkeras.training.algorithms.rule import Matrix
from airflow_provider_distkeras.training.backends import weights
from airflow_provider_distkeras.training.backends.label_transform import LabelTransform
from airflow_provider_distkeras.training.backends.structure import input_structure

if TYPE_CHECKING:
    import keras


def build_ensemble(network: keras.Model, members: Matrix, transform: LabelTransform | None = None) -> keras.Model:
    """Return a network with the mean of its members' outputs.

    Args:
        network: the architecture of every member.
        members: the trained weights of each, (members, weights).
        transform: of the labels that they were trained on; every member's outputs are in the labels' own units.
    """
    import keras

    copies = []
    for number, flat in enumerate(members):
        copy = keras.models.model_from_json(network.to_json())
        weights.set_flat(copy, flat)
        copy = copy if transform is None else in_label_units(copy, transform)
        copy.name = f"member_{number}"
        copies.append(copy)
    inputs = [keras.Input(tensor.shape[1:], name=tensor.name) for tensor in network.inputs]
    packed = keras.tree.pack_sequence_as(input_structure(network), inputs)
    outputs = [keras.tree.flatten(copy(packed)) for copy in copies]
    return keras.Model(packed, [keras.layers.Average()(list(output)) for output in zip(*outputs, strict=True)])


def with_member_outputs(ensemble: keras.Model) -> keras.Model:
    """Return a network with the outputs of `build_ensemble`'s network, followed by those of each member."""
    import keras

    average = ensemble.layers[-1]
    return keras.Model(ensemble.input, [*ensemble.outputs, *average.input])
