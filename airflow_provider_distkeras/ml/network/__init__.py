"""Keras networks: built for the data, saved and loaded, and run on Spark's rows."""
