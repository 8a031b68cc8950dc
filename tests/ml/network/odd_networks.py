"""Networks that people have, of all shapes; `test_odd_networks` trains them."""

import keras
import numpy as np

layers = keras.layers


@keras.saving.register_keras_serializable("odd_networks")
class Subclassed(keras.Model):
    """A registered class, with arguments, a BatchNormalization and a Dropout inside."""

    def __init__(self, units=4, **options):
        super().__init__(**options)
        self.units = units
        self.hidden, self.normalized, self.dropped = layers.Dense(units), layers.BatchNormalization(), layers.Dropout(0.1)
        self.out = layers.Dense(1)

    def call(self, rows, training=False):
        hidden = self.dropped(self.normalized(self.hidden(rows), training=training), training=training)
        return self.out(keras.ops.relu(hidden))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("odd_networks")
class WithoutConfig(Subclassed):
    """A class whose configuration lacks an argument."""

    def get_config(self):
        return {}


@keras.saving.register_keras_serializable("odd_networks")
class Opaque(keras.layers.Layer):
    """A class without a configuration, made with what JSON cannot hold."""

    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, rows):
        return rows * self.factor()


class Unregistered(keras.Model):
    """A class that a worker does not find."""

    def __init__(self):
        super().__init__()
        self.out = layers.Dense(1)

    def call(self, rows):
        return self.out(rows)


def subclassed():
    return Subclassed(6)


def without_config():
    return WithoutConfig(6)


def opaque():
    return keras.Sequential([keras.Input((3,)), Opaque(lambda: 2.0), layers.Dense(1)])


def unregistered():
    return Unregistered()


def without_input():
    return keras.Sequential([layers.Dense(6, activation="relu"), layers.Dense(1)])


def one_layer():
    return keras.Sequential([keras.Input((3,)), layers.Dense(1)])


def lambda_layer():
    return keras.Sequential([keras.Input((3,)), layers.Lambda(lambda rows: rows * 2), layers.Dense(1)])


def batch_normalized():
    momentum = {"momentum": 0.8}
    return keras.Sequential(
        [keras.Input((3,)), layers.BatchNormalization(**momentum), layers.Dense(6, activation="relu"), layers.Dense(1)]
    )


def adapted():
    normalization = layers.Normalization()
    normalization.adapt(np.array([[90, 5, -1], [110, 5.5, 1]], np.float32))
    inside = keras.Sequential([keras.Input((3,)), normalization, layers.Dense(6, activation="relu")])
    return keras.Sequential([keras.Input((3,)), inside, layers.Dense(1)])


def unadapted():
    return keras.Sequential([keras.Input((3,)), layers.Normalization(), layers.Dense(1)])


def wants_pictures():
    return keras.Sequential([layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(1)])
