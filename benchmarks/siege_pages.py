"""Pages of Airflow's UI under a hundred thousand hostile requests: what they cost, and that the page stays as it is."""

from __future__ import annotations

import http.client
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from airflow_provider_distkeras.contract.artifacts.attempt import Attempt
from benchmarks.lib import report
from benchmarks.lib.airflow_server import ApiServer, api_server

REQUESTS = report.sized(100_000, quick=400)
CLIENTS = 8
PAGE = "/distkeras/metrics/siege"
#: Names of DAGs, runs and tasks that no user types.
NAMES = (
    "../../../../etc/passwd", "..%2f..%2fairflow.cfg", "siege' OR 1=1 --", "<script>alert(1)</script>", "\0", "\ud800", "%s%n{0}",
    "x" * 4_000, "file:///etc/shadow", "siege", "run",
)  # fmt: skip
INDEXES = ("-1", "0", "-2", "99999999999999999999", "1e9", "NaN", "{MAP_INDEX}", "", "x" * 2_000)


def main(name: str) -> None:
    """Measure and write. Raises ValueError if the page changes, or if any answer is a failure of the server."""
    with tempfile.TemporaryDirectory() as folder:
        attempt = Attempt.claim(
            f"file://{folder}/artifacts", "siege", "train", -1, "2026-03",
            claimed_at=datetime.now(UTC), generation=0, try_number=1, spec_sha256="0" * 64,
        )  # fmt: skip
        paths = {"model_path": f"{attempt.path}/model", "report_path": f"{attempt.path}/report.html"}
        with api_server(Path(folder), {**paths, "metrics": {"r2": {"mean": 0.9, "std": 0.01}}}) as server:
            _attack(server, range(CLIENTS), REQUESTS // 10)  # until its caches are filled
            quiet, before = statistics.median(_visit(server) for _ in range(20)), server.memory()
            under_attack: list[float] = []
            ended = threading.Event()
            with ThreadPoolExecutor(1) as pool:
                visits = pool.submit(_visit_until, server, ended, under_attack)
                started = time.perf_counter()
                statuses = _attack(server, range(CLIENTS, 2 * CLIENTS), REQUESTS)
                seconds = time.perf_counter() - started
                ended.set()
                visits.result()
            grown = server.memory() - before
    if failures := {status: count for status, count in statuses.items() if status >= 500}:
        raise ValueError(f"Answers that are failures of the server, by status: {failures}.")
    answers = ", ".join(f"{count:,} times {status}" for status, count in sorted(statuses.items()))
    visited = (
        f"{statistics.median(under_attack) * 1e3:.0f} ms the median of {len(under_attack)} visits; {quiet * 1e3:.0f} ms alone"
    )
    report.write(
        name,
        [
            report.Figure("hostile requests", REQUESTS / seconds, "1/s", f"answered {answers}"),
            report.Figure("the slowest visit of the page meanwhile", max(under_attack), "s", visited, 5.0, True),
            report.Figure("memory of the API server", grown / 1e6, "MB more", f"{before / 1e6:.0f} MB", 64.0, True),
        ],
    )


def _attack(server: ApiServer, seeds: range, requests: int) -> Counter[int]:
    """Send hostile requests from as many clients as seeds; return how many answers had which status."""
    with ThreadPoolExecutor(len(seeds)) as pool:
        return sum(pool.map(lambda seed: _client(server, seed, requests // len(seeds)), seeds), Counter())


def _client(server: ApiServer, seed: int, requests: int) -> Counter[int]:
    rng, statuses = random.Random(seed), Counter[int]()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for _ in range(requests):
        try:
            connection.request(rng.choice(("GET", "GET", "GET", "POST", "DELETE")), _address(rng), headers=_headers(server, rng))
            answer = connection.getresponse()
            answer.read()
            statuses[answer.status] += 1
        except (http.client.HTTPException, ConnectionError):  # it hangs up on what is no HTTP
            statuses[0] += 1
            connection.close()
    connection.close()
    return statuses


def _address(rng: random.Random) -> str:
    """Return an address of a page with names and an index that may be anything."""
    dag, run, task = (quote(rng.choice(NAMES), safe="", errors="surrogatepass") for _ in range(3))
    query = f"run_id={run}&task_id={task}&map_index={quote(rng.choice(INDEXES))}"
    return f"/distkeras/{rng.choice(('report', 'run', 'metrics', 'nothing'))}/{dag}?{query}"


def _headers(server: ApiServer, rng: random.Random) -> dict[str, str]:
    """Return the headers of a user, of a stranger, or of one who makes up a token."""
    token = rng.choice((server.token, server.token, "", server.token[:-2], "x" * 1_000))
    return {"Authorization": f"Bearer {token}"} if token else {}


def _visit_until(server: ApiServer, ended: threading.Event, seconds: list[float]) -> None:
    while not ended.wait(0.1):
        seconds.append(_visit(server))


def _visit(server: ApiServer) -> float:
    """Return the seconds until a user has the page. Raises ValueError if it is not the page of the DAG's model."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", PAGE, headers={"Authorization": f"Bearer {server.token}"})
    answer = connection.getresponse()
    page = answer.read()
    connection.close()
    if answer.status != http.HTTPStatus.OK or b"0.9000" not in page:
        raise ValueError(f"The page of the model's metrics is answered by {answer.status}: {page[:500]!r}")
    return time.perf_counter() - started


if __name__ == "__main__":
    main(sys.argv[1])
