"""Initial weights out of a trained network, layer by layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.ml.network.builder import BuiltNetwork
from airflow_provider_distkeras.training.backends import weights

if TYPE_CHECKING:
    import keras

#: A layer's own name, or the name of its kind and its number among those that Keras named.
_Key = tuple[str, int]
_MAX_NAMED = 5


def with_weights_of(built: BuiltNetwork, trained: keras.Model, path: str) -> BuiltNetwork:
    """Return a network whose layers begin with the weights of those of a trained one that have their name and shapes.

    Names that Keras gives, such as dense_3, differ from process to process: of such layers the first corresponds to the first of
    its kind, and so on. Layers without counterpart keep their new weights.

    Args:
        built: the network, one member.
        trained: the trained network.
        path: of the trained network, for messages.

    Raises:
        SpecError: no layer has a counterpart, or the network is an ensemble's.
    """
    if len(built.initial) > 1:
        raise SpecError(
            "initial_model: the networks of an EnsembleTrainer differ by their initial weights. Leave initial_model out, or "
            "choose another trainer."
        )
    counterparts, layers, new = dict(_layers(trained)), _layers(built.network), []
    for key, variables in layers:
        values = counterparts.get(key, [])
        if _shapes(values) == _shapes(variables):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        else:
            new.append(f"{_name(key)} {_shapes(variables)}" + (f", there {_shapes(values)}" if values else ""))
    if len(new) == len(layers):
        raise SpecError(
            f"initial_model: none of the network's layers is in {path} with the same name and shapes. Expected one of "
            f"{_listed([f'{_name(key)} {_shapes(values)}' for key, values in counterparts.items()])}; received {_listed(new)}."
        )
    started_from = f"{len(layers) - len(new)} of {len(layers)} layers from {path}" + (f"; new: {_listed(new)}" if new else "")
    return replace(built, initial=weights.get_flat(built.network)[np.newaxis], started_from=started_from)


def _layers(network: keras.Model) -> list[tuple[_Key, list[Any]]]:
    """Return the layers that own weights, and these."""
    owned, seen = [], set[int]()
    for layer in reversed([*network._flatten_layers()]):  # a layer comes behind the one that it is part of
        own = [variable for variable in layer.weights if id(variable) not in seen]
        seen |= {*map(id, own)}
        if own:
            owned.append((layer, own))
    numbers: dict[str, list[int]] = {}
    owned.reverse()
    keys = [_kind_and_number(layer) for layer, _ in owned]
    for kind, number in keys:
        numbers.setdefault(kind, []).append(number)
    return [((kind, sorted(numbers[kind]).index(number)), own) for (kind, number), (_, own) in zip(keys, owned, strict=True)]


def _kind_and_number(layer: Any) -> _Key:
    """Return the kind and the number that Keras made a layer's name of; another name with the number 0."""
    kind = re.sub(r"_\d+$", "", layer.name)
    is_automatic = kind.replace("_", "") == type(layer).__name__.lower()
    return (kind, int(layer.name[len(kind) + 1 :] or 0)) if is_automatic else (layer.name, 0)


def _name(key: _Key) -> str:
    kind, number = key
    return f"{kind}_{number}" if number else kind


def _shapes(values: Sequence[Any]) -> str:
    return " ".join(str(tuple(value.shape)) for value in values)


def _listed(texts: list[str]) -> str:
    more = f", and {len(texts) - _MAX_NAMED} more" if len(texts) > _MAX_NAMED else ""
    return f"{', '.join(texts[:_MAX_NAMED])}{more}"
