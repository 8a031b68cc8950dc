"""Runs on executors. Hyper-parameters that do not change the graph, as arguments of the compiled window.

`extract` takes the rates of Dropout and the strengths of L1 and L2 out of a network's configuration, so that networks that
differ only in them share one compiled window. Two classes of `register` replace Dropout, L1 and L2: they read their values from
`bound`, which the window sets while it is traced.
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
    """Return a network's JSON without such values, and the values by position.

    Names that Keras generated (dense_7) are numbered anew: otherwise the same network, built again, would have another
    configuration.

    Args:
        config: the network as Keras JSON.
    """
    values: list[float] = []
    network, names = json.loads(config), _LayerNames(config)
    names.collect(network)
    return json.dumps(names.replace(_rewrite(network, values))), tuple(values)


class _LayerNames:
    """New names for those that Keras generates: a class's name in snake case, with a number that counts up in a process."""

    def __init__(self, config: str) -> None:
        self._config = config
        self._new: dict[str, str] = {}

    def collect(self, node: Any) -> None:
        """Choose a new name for every generated one in a part of the configuration."""
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
        """Return a part of the configuration with the new names."""
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
    config: dict[str, Any] = node.get("config") or {}
    if kind == ("keras.layers", "Dropout") and config["rate"] > 0 and config.get("noise_shape") is None:
        others = {key: value for key, value in config.items() if key not in ("rate", "noise_shape")}
        values.append(float(config["rate"]))
        return {**node, **_named(_DROPOUT), "config": {**others, "position": len(values) - 1}}
    if kind[0] == "keras.regularizers" and kind[1] in ("L1", "L2", "L1L2"):
        values.extend([float(config.get("l1", 0.0)), float(config.get("l2", 0.0))])
        return {**node, **_named(_PENALTY), "config": {"position": len(values) - 2}}
    return {key: _rewrite(value, values) for key, value in node.items()}


def _named(name: str) -> dict[str, str]:
    return {"module": __name__, "class_name": name, "registered_name": f"{_PACKAGE}>{name}"}


def register() -> None:
    """Register the two classes with Keras, in a process that has chosen its backend."""
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
            mask = keras.random.uniform(keras.ops.shape(inputs), dtype="float32", seed=self.seed_generator) >= rate
            return inputs * keras.ops.cast(mask, inputs.dtype) / keras.ops.cast(1.0 - rate, inputs.dtype)

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
