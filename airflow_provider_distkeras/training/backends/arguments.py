"""Hyper-parameters that do not change the graph, as arguments of the compiled window instead of constants in it.

`extract` takes the rates of Dropout and the strengths of L1 and L2 out of a network's configuration, so that networks which
differ in them only share one compiled window. In their place stand the two classes below, which read their values from `bound`,
where the window puts them while it is traced.
"""

from __future__ import annotations

import json
import re
from typing import Any

_PACKAGE = "distkeras"
_DROPOUT, _PENALTY = "ArgumentDropout", "ArgumentPenalty"

#: The arguments of the window being traced, by position.
bound: list[Any] = []


def extract(config: str) -> tuple[str, tuple[float, ...]]:
    """A network's JSON with arguments in place of such values, and the values.

    Names that Keras gave (dense_7) are counted anew: the same network built again would otherwise be another one.
    """
    values: list[float] = []
    network, names = json.loads(config), _Names(config)
    names.collect(network)
    return json.dumps(names.replace(_rewrite(network, values))), tuple(values)


class _Names:
    """New names for those that Keras counts up within a process: a class's name in snake case, with a number behind it."""

    def __init__(self, config: str) -> None:
        self._config = config
        self._new: dict[str, str] = {}

    def collect(self, node: Any) -> None:
        if isinstance(node, dict):
            config = node.get("config")
            name = config.get("name") if isinstance(config, dict) else None
            stem = re.sub(r"(?<!^)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", str(node.get("class_name"))).lower()
            if isinstance(name, str) and re.fullmatch(rf"{re.escape(stem)}(_\d+)?", name):
                self._new.setdefault(name, self._unused(stem))
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            self.collect(child)

    def _unused(self, stem: str) -> str:
        new = f"{stem}-{len(self._new)}"  # PyTorch takes no dots
        while f'"{new}"' in self._config:  # the user named a layer so
            new += "-"
        return new

    def replace(self, node: Any) -> Any:
        if isinstance(node, dict):
            return {key: self.replace(value) for key, value in node.items()}
        if isinstance(node, list):
            return [self.replace(item) for item in node]
        return self._new.get(node, node) if isinstance(node, str) else node


def _rewrite(node: Any, values: list[float]) -> Any:
    if isinstance(node, list):
        return [_rewrite(item, values) for item in node]
    if not isinstance(node, dict):
        return node
    kind = (node.get("module"), node.get("class_name"))
    said: dict[str, Any] = node.get("config") or {}
    if kind == ("keras.layers", "Dropout") and said["rate"] > 0 and said.get("noise_shape") is None:
        kept = {key: value for key, value in said.items() if key not in ("rate", "noise_shape")}
        values.append(float(said["rate"]))
        return {**node, **_named(_DROPOUT), "config": {**kept, "position": len(values) - 1}}
    if kind[0] == "keras.regularizers" and kind[1] in ("L1", "L2", "L1L2"):
        values.extend([float(said.get("l1", 0.0)), float(said.get("l2", 0.0))])
        return {**node, **_named(_PENALTY), "config": {"position": len(values) - 2}}
    return {key: _rewrite(value, values) for key, value in node.items()}


def _named(name: str) -> dict[str, str]:
    return {"module": __name__, "class_name": name, "registered_name": f"{_PACKAGE}>{name}"}


def register() -> None:
    """Make the two classes known to Keras, in a process that has chosen its backend."""
    import keras

    if keras.saving.get_registered_object(f"{_PACKAGE}>{_DROPOUT}"):
        return

    @keras.saving.register_keras_serializable(_PACKAGE, _DROPOUT)
    class ArgumentDropout(keras.layers.Layer):
        """Dropout whose rate is an argument."""

        def __init__(self, position: int, seed: int | None = None, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.position = position
            self.seed_generator = keras.random.SeedGenerator(seed)
            self.supports_masking = True
            self._build_at_init()

        def call(self, inputs: Any, training: bool = False) -> Any:
            if not training:
                return inputs
            rate = bound[self.position]
            kept = keras.random.uniform(keras.ops.shape(inputs), dtype="float32", seed=self.seed_generator) >= rate
            return inputs * keras.ops.cast(kept, inputs.dtype) / keras.ops.cast(1.0 - rate, inputs.dtype)

        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape

    @keras.saving.register_keras_serializable(_PACKAGE, _PENALTY)
    class ArgumentPenalty(keras.regularizers.Regularizer):
        """L1 and L2 whose strengths are arguments."""

        def __init__(self, position: int) -> None:
            self.position = position

        def __call__(self, weights: Any) -> Any:
            l1, l2 = bound[self.position], bound[self.position + 1]
            return l1 * keras.ops.sum(keras.ops.absolute(weights)) + l2 * keras.ops.sum(keras.ops.square(weights))

        def get_config(self) -> dict[str, Any]:
            return {"position": self.position}
