"""The reference of scoring: processes that read Parquet, run the compiled network and write Parquet, with no Spark."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_distkeras.spark.environment import variables
from benchmarks.lib import report

_ROWS = 65_536


@contextmanager
def two_processes(network: Path, rows: Path, folder: Path, keys: Sequence[str], batch_size: int) -> Iterator[Callable[[], float]]:
    """Yield a function that measures the seconds of two processes, each with a core and half the files."""
    files = sorted(map(str, rows.glob("*.parquet")))
    environment = {**os.environ, **variables(os.environ["KERAS_BACKEND"], 1)}
    pipe = subprocess.PIPE
    workers = []
    for number in range(2):
        arguments = repr((str(network), files[number::2], f"{folder}/bare-{number}.parquet", list(keys), batch_size))
        command = [sys.executable, "-m", "benchmarks.lib.bare_scoring", arguments]
        workers.append(subprocess.Popen(command, env=environment, text=True, stdin=pipe, stdout=pipe))

    def together() -> None:
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        for worker in workers:
            worker.stdout.readline()

    try:
        for worker in workers:
            worker.stdout.readline()  # it has loaded its network
        yield lambda: report.seconds(together)
    finally:
        for worker in workers:
            worker.communicate()


def _main(network: str, files: list[str], out: str, keys: list[str], batch_size: int) -> None:
    from airflow_provider_distkeras.ml.network import inference, serialization

    content = Path(network).read_bytes()
    forward = inference.load(content, serialization.digest(content), (), batch_size)
    print("ready", flush=True)
    for _ in sys.stdin:
        _score(forward, files, out, keys)
        print("done", flush=True)


def _score(forward: Callable, files: list[str], out: str, keys: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from airflow_provider_distkeras.training.dataset import as_matrix

    writer = None
    for file in files:
        with pq.ParquetFile(file) as rows:
            for batch in rows.iter_batches(_ROWS, columns=[*keys, "features"], use_threads=False):
                prediction = pa.array(forward(as_matrix(batch.column("features")))[0][:, 0].astype("float64"))
                scored = pa.RecordBatch.from_arrays([*map(batch.column, keys), prediction], [*keys, "prediction"])
                writer = writer or pq.ParquetWriter(out, scored.schema)
                writer.write_batch(scored)
    writer.close()


if __name__ == "__main__":
    _main(*eval(sys.argv[1]))
