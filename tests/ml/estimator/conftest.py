"""Rows that fits train on."""

import numpy as np
import pytest
from pyspark.ml.feature import VectorAssembler

from tests.ml.estimator.linear import ROWS


@pytest.fixture(scope="module")
def data(spark):
    """Rows of y = 2a - 3b + 1, two classes, and three kinds."""
    random = np.random.default_rng(0).normal(size=(ROWS, 2))
    rows = [
        (float(a), float(b), float(2 * a - 3 * b + 1), float(a > b), float((a > 0) + (b > 0)), i % 5 == 0)
        for i, (a, b) in enumerate(random)
    ]
    frame = spark.createDataFrame(rows, ["a", "b", "label", "class", "kind", "held_out"])
    return VectorAssembler(inputCols=["a", "b"], outputCol="features").transform(frame).cache()
