"""Runs on executors. The update rules of distributed training, as pure NumPy: no I/O, no Spark, no Keras.

A rule sees a network as one flat float32 vector, in two parts. The trainable weights come first: an optimizer moves them. The
state of layers such as BatchNormalization follows: it is a running mean, so it may be averaged but never summed.

Notation: C is the server weights, W a worker's weights. A window is the steps that a worker takes between two commits, C_pulled
the server weights that its window started from. A rule keeps one matrix on the server, its store, whose first row is C. So a
server can be split into shards by columns, and a checkpoint of it is one array.
"""
