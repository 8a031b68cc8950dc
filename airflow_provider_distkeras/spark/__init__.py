"""Spark as this package uses it: cluster, environment, storage, columns and progress."""
