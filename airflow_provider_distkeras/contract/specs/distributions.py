"""Distributions of values for a search: {"uniform": [low, high]}, {"loguniform": ...}, {"int": ...} or {"choice": [values]}."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from airflow_provider_distkeras.contract.errors import SpecError, unknown_name
from airflow_provider_distkeras.contract.fields import Check, integer, json_value, list_of, number

_BOUNDS: dict[str, Check] = {"uniform": number(), "loguniform": number(positive=True), "int": integer(-(2**53))}

#: The most draws per dict: of few values, the same come again and again.
_DRAWS_PER_DICT = 100


def distribution(name: str, value: Any) -> dict[str, list[Any]]:
    """Check for one distribution."""
    if not isinstance(value, Mapping) or len(value) != 1:
        raise SpecError(f"{name}: expected one distribution, such as {{'loguniform': [0.0001, 0.1]}}, received {value!r}.")
    ((kind, values),) = value.items()
    if kind == "choice":
        return {kind: list_of(json_value, minimum=1)(f"{name}['choice']", values)}
    if kind not in _BOUNDS:
        raise SpecError(f"{name}: {unknown_name('distribution', kind, [*_BOUNDS, 'choice'])}")
    bounds = list_of(_BOUNDS[kind])(f"{name}[{kind!r}]", values)
    if len(bounds) != 2 or not bounds[0] < bounds[1]:
        raise SpecError(f"{name}[{kind!r}]: expected a lower and a higher bound, received {values!r}.")
    return {kind: bounds}


def draw(distributions: Mapping[str, Mapping[str, list[Any]]], count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield `count` different dicts of values, drawn independently; fewer if there are no others.

    The same seed gives the same dicts.

    Args:
        distributions: the distribution per name.
        count: the number of dicts.
        seed: the seed of the draws.
    """
    chance = random.Random(seed)
    drawn: set[str] = set()
    for _ in range(_DRAWS_PER_DICT * count):
        values = {name: _DRAWN[kind](chance, each) for name, one in sorted(distributions.items()) for kind, each in one.items()}
        key = json.dumps(values)
        if key not in drawn:
            drawn.add(key)
            yield values
        if len(drawn) == count:
            return


_DRAWN: dict[str, Callable[[random.Random, list[Any]], Any]] = {
    "uniform": lambda chance, bounds: chance.uniform(*bounds),
    "loguniform": lambda chance, bounds: math.exp(chance.uniform(*map(math.log, bounds))),
    "int": lambda chance, bounds: chance.randint(*bounds),
    "choice": lambda chance, values: chance.choice(values),
}
