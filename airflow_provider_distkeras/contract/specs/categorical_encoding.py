"""How categories become features: a feature each, or whole numbers for an Embedding, by a list or by a hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.feature_layout import LARGEST_WHOLE
from airflow_provider_distkeras.contract.fields import check_names, integer

ONE_HOT, INDEX, HASH = "onehot", "index", "hash"


@dataclass(frozen=True)
class CategoricalEncoding:
    """The encoding of one column.

    Attributes:
        kind: onehot, index or hash.
        min_count: rows that a category must have for an index of its own.
        buckets: the numbers from 1 on that hashes share.
    """

    kind: str = ONE_HOT
    min_count: int = 1
    buckets: int = 0

    @classmethod
    def of(cls, value: str | Mapping[str, Any]) -> Self:
        """Return the encoding that `check_encoding` has taken."""
        if isinstance(value, str):
            return cls(value)
        ((kind, options),) = value.items()
        return cls(kind, buckets=options) if kind == HASH else cls(kind, **options)


def check_encoding(name: str, value: Any) -> str | dict[str, Any]:
    """Check for "onehot", "index", {"index": {"min_count": 5}} or {"hash": 100000}."""
    if value in (ONE_HOT, INDEX):
        return str(value)
    if isinstance(value, Mapping) and [*value] == [HASH]:
        buckets = integer(1)(f"{name}['{HASH}']", value[HASH])
        if buckets > LARGEST_WHOLE:
            raise SpecError(
                f"{name}['{HASH}']: expected at most {LARGEST_WHOLE:,} numbers, received {buckets:,}: features are float32, in "
                "which larger whole numbers are not all different."
            )
        return {HASH: buckets}
    if isinstance(value, Mapping) and [*value] == [INDEX] and isinstance(value[INDEX], Mapping):
        check_names(f"option of {name}['{INDEX}']", value[INDEX], ["min_count"])
        return {INDEX: {option: integer(1)(f"{name}['{INDEX}'][{option!r}]", count) for option, count in value[INDEX].items()}}
    raise SpecError(
        f"{name}: expected 'onehot', 'index', {{'index': {{'min_count': 5}}}} or {{'hash': 100000}}, received {value!r}."
    )
