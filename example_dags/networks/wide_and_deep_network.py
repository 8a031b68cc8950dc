"""The network of `wide_and_deep.py`: it travels to the cluster by `py_files`, so it stands in a file of its own.

Source: H.-T. Cheng et al., "Wide & Deep Learning for Recommender Systems", DLRS 2016 (arXiv 1606.07792).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def build(layout: Any) -> keras.Model:
    """Return the sum of a linear model, which remembers every category, and of a deep one, which tells how they are alike.

    Args:
        layout: of the features: `sizes` has the columns of categories' numbers, each with how many of them there are.
    """
    import keras

    numbers = {name: keras.Input((1,), name=name) for name in layout.sizes}
    others = keras.Input((layout.size - len(numbers),), name="features")
    wide, deep = [keras.layers.Dense(1)(others)], [others]
    for name, size in layout.sizes.items():
        wide.append(keras.layers.Flatten()(keras.layers.Embedding(size, 1, embeddings_initializer="zeros")(numbers[name])))
        deep.append(keras.layers.Flatten()(keras.layers.Embedding(size, 8)(numbers[name])))
    hidden = keras.layers.Dense(32, activation="relu")(keras.layers.Concatenate()(deep))
    outputs = keras.layers.Add()([*wide, keras.layers.Dense(1)(hidden)])
    return keras.Model({**numbers, "features": others}, outputs)
