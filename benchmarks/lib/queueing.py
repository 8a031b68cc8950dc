"""A small discrete-event simulation of many workers and the sharded parameter servers of one driver."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Costs:
    """Durations in seconds.

    Attributes:
        window: a worker's computation of a window.
        call: of every exchange with a shard, what Python does under the interpreter's lock, which all shards share.
        copies: of all weights, moving them between sockets and memory; any processor of the driver does that.
        update: of all weights, updating the server's weights; a shard does one at a time.
    """

    window: float
    call: float
    copies: float
    update: float


class _Station:
    """A resource with some places; jobs beyond them wait in line."""

    def __init__(self, servers: int) -> None:
        self.free = servers
        self.line: deque[Iterator[tuple[_Station | None, float]]] = deque()


def simulate(costs: Costs, workers: int, shards: int, cores: int, windows: int = 200) -> float:
    """Return the windows per second that the workers commit together.

    Every worker computes, then exchanges with all shards at once and goes on when the last one has answered. An exchange is read
    (cores), understood (interpreter), applied (the shard), and answered (cores); a shard holds its part of the weights.
    """
    chance, order = random.Random(0), itertools.count()
    interpreter, processors = _Station(1), _Station(cores)
    stores = [_Station(1) for _ in range(shards)]
    events: list[tuple[float, int, Iterator[tuple[_Station | None, float]], _Station | None]] = []
    waiting = [0] * workers
    done, now = 0, 0.0

    def at(seconds: float, job: Iterator[tuple[_Station | None, float]], leaves: _Station | None) -> None:
        heapq.heappush(events, (now + seconds, next(order), job, leaves))

    def exchange(worker: int, store: _Station) -> Iterator[tuple[_Station | None, float]]:
        yield processors, costs.copies / shards / 2
        yield interpreter, costs.call
        yield store, costs.update / shards
        yield processors, costs.copies / shards / 2
        waiting[worker] -= 1
        if not waiting[worker]:
            nonlocal done
            done += 1
            at(0.0, window(worker), None)

    def window(worker: int) -> Iterator[tuple[_Station | None, float]]:
        # Windows differ a little, or all workers would commit in step for ever.
        yield None, costs.window * chance.uniform(0.9, 1.1)
        waiting[worker] = shards
        for store in stores:
            at(0.0, exchange(worker, store), None)

    def advance(job: Iterator[tuple[_Station | None, float]]) -> None:
        for station, seconds in job:
            if station is not None and not station.free:
                station.line.append(_resumed(station, seconds, job))
            else:
                if station is not None:
                    station.free -= 1
                at(seconds, job, station)
            return

    for worker in range(workers):
        at(chance.uniform(0.0, costs.window), window(worker), None)
    warm, begun = windows * workers // 4, 0.0
    while done < windows * workers:
        now, _, job, leaves = heapq.heappop(events)
        if leaves is not None:
            leaves.free += 1
            if leaves.line:
                advance(leaves.line.popleft())
        if done <= warm:
            begun, counted = now, done
        advance(job)
    return (done - counted) / (now - begun)


def _resumed(
    station: _Station, seconds: float, rest: Iterator[tuple[_Station | None, float]]
) -> Iterator[tuple[_Station | None, float]]:
    yield station, seconds
    yield from rest
