"""Kinds of input: the interface `Source`, and a file or more per kind."""
