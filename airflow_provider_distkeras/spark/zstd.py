"""The beginning of files that zstd has compressed, which Python's standard library cannot read before 3.14."""

from __future__ import annotations

import pyarrow as pa

_BLOCK = 1 << 14


def decompress_head(content: bytes, limit: int) -> bytes:
    """Return at least `limit` decompressed bytes, or all that there are.

    Args:
        content: the beginning of a file; it may end inside a frame.
        limit: the number of bytes that are of use.

    Raises:
        OSError: the content is not compressed by zstd.
    """
    stream, head = pa.input_stream(pa.py_buffer(content), compression="zstd"), b""
    while len(head) < limit:
        try:
            block = stream.read(_BLOCK)
        except OSError:  # the content ends inside a frame
            if not head:
                raise
            break
        if not block:
            break
        head += block
    return head
