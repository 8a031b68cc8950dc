"""Embeddings of a network of dense layers: a vector of weights per category, in place of its number."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_provider_distkeras.contract.errors import DataError, unknown_name
from airflow_provider_distkeras.contract.feature_layout import FeatureLayout

if TYPE_CHECKING:
    import keras

#: The largest width of a vector that nothing is said of. Optimizers such as Adam move a whole table in every step, so wider
#: vectors of many categories cost time in proportion.
_MOST_DIMS = 8


def build_encoder(layout: FeatureLayout, embedding_dims: str | int | dict[str, int]) -> keras.Model:
    """Return a network from features to the same with an Embedding's vector in place of each index, behind the others.

    Args:
        layout: of the features; some are indices.
        embedding_dims: the width of the vectors: "auto", a number, or a number per column, "auto" for those it does not name.

    Raises:
        SpecError: a column that is no index is named.
    """
    import keras

    dims = embedding_dims if isinstance(embedding_dims, dict) else {}
    for column in dims:
        if column not in layout.sizes:
            raise unknown_name("column of categorical_encoding in embedding_dims", column, layout.sizes)
    features = keras.Input((layout.size,), name="features")
    others = layout.positions(*(column for column in layout.columns if column not in layout.sizes))
    parts = [keras.ops.take(features, others, axis=1)] if others else []
    names: set[str] = set()
    for column, size in layout.sizes.items():
        width = dims.get(column, "auto") if isinstance(embedding_dims, dict) else embedding_dims
        name = _layer_name(column, names)
        names.add(name)
        embedding = keras.layers.Embedding(size, auto_dims(size) if width == "auto" else width, name=name)
        parts.append(embedding(features[:, layout.index_position(column)]))
    return keras.Model(features, keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0], name="encoder")


def auto_dims(size: int) -> int:
    """Return the usual width of an Embedding's vectors for so many numbers."""
    return min(_MOST_DIMS, round(1.6 * size**0.56))


def check_has_indices(layout: FeatureLayout | None, embedding_dims: str | int | dict[str, int]) -> None:
    """Raise DataError if a width is set and the data has nothing to embed."""
    if embedding_dims != "auto" and not (layout and layout.sizes):
        raise DataError(
            f"embedding_dims: {embedding_dims!r} is the width of Embeddings, and the data has no column to embed. Prepare it "
            "with categorical_encoding={column: 'index'}, or leave embedding_dims out."
        )


def _layer_name(column: str, taken: set[str]) -> str:
    """Return a name that every backend takes for a layer."""
    name = f"embedding_{re.sub('[^A-Za-z0-9]', '_', column)}"
    while name in taken:
        name += "_"
    return name
