"""The update rules against the conditions their mathematics must meet, on plain vectors."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from airflow_provider_distkeras.training.algorithms.additive import AdagRule, DownpourRule, DynSGDRule, ExperimentalRule
from airflow_provider_distkeras.training.algorithms.elastic import AEASGDMeanRule, AEASGDRule
from airflow_provider_distkeras.training.algorithms.independent import EnsembleRule, SequentialRule
from airflow_provider_distkeras.training.algorithms.synchronous import SynchronousRule

SIZE, TRAINABLE = 6, 4
GRADIENT = np.array([1, -2, 0.5, 3, 0, 0], np.float32)
RATE = np.float32(0.1)
START = np.ones(SIZE, np.float32)
vectors = arrays(np.float32, SIZE, elements=st.floats(-8, 8, width=32))

ASYNCHRONOUS = {
    "DOWNPOUR": DownpourRule(SIZE, 2),
    "ADAG": AdagRule(SIZE, 2),
    "DynSGD": DynSGDRule(SIZE, 2),
    "Experimental": ExperimentalRule(SIZE, 2, 0.5),
    "AEASGD": AEASGDRule(SIZE, 2, 0.3),
    "AEASGD, its mean": AEASGDMeanRule(SIZE, 2, 0.3),
}
every_asynchronous = pytest.mark.parametrize("rule", ASYNCHRONOUS.values(), ids=ASYNCHRONOUS)


def opened(rule, start=START):
    return rule.open(start[None])


def run_windows(rule, windows, steps, start=START):
    """The server weights after windows of one worker under a constant gradient."""
    store = opened(rule, start)
    weights = rule.pull(store, 0)
    for _ in range(windows):
        after = weights - steps * RATE * GRADIENT
        weights = rule.resume(after, rule.exchange(store, 0, rule.update(weights, after, steps), 0))
    return rule.result(store)[0]


@pytest.mark.parametrize("steps", [1, 3, 12])
def test_adag_moves_the_server_weights_by_one_mean_step_per_window(steps):
    np.testing.assert_allclose(run_windows(AdagRule(SIZE, 1), 5, steps), START - 5 * RATE * GRADIENT, rtol=1e-5)


@pytest.mark.parametrize("steps", [1, 3, 12])
def test_downpour_moves_the_server_weights_by_all_steps_of_a_window(steps):
    np.testing.assert_allclose(run_windows(DownpourRule(SIZE, 1), 5, steps), START - 5 * steps * RATE * GRADIENT, rtol=1e-5)


@pytest.mark.parametrize("rule", [AdagRule(SIZE, 1), DownpourRule(SIZE, 1), DynSGDRule(SIZE, 1), ExperimentalRule(SIZE, 1, 1.0)])
def test_one_worker_with_a_window_of_one_is_sequential_training(rule):
    sequential = run_windows(SequentialRule(SIZE, 1), windows=7, steps=1)
    np.testing.assert_allclose(run_windows(rule, windows=7, steps=1), sequential, rtol=1e-6)


def test_sequential_training_is_exact():
    expected = START.copy()
    for _ in range(4):
        expected = expected - 3 * RATE * GRADIENT
    np.testing.assert_array_equal(run_windows(SequentialRule(SIZE, 1), windows=4, steps=3), expected)


@given(vectors, vectors, vectors, st.integers(0, 9))
@pytest.mark.parametrize("clock", [1, 4])
def test_dynsgd_divides_by_the_updates_or_the_rounds_of_updates_that_came_between(clock, server, before, after, staleness):
    rule = DynSGDRule(SIZE, 4, clock)
    store = opened(rule, server)
    update = rule.update(before, after, 3)
    rule.exchange(store, 0, update, staleness)
    np.testing.assert_allclose(store[0], server + update / (staleness // clock + 1), atol=1e-5)


@given(vectors, vectors, vectors)
def test_dynsgd_without_staleness_is_downpour(server, before, after):
    ends = []
    for rule in (DynSGDRule(SIZE, 1), DownpourRule(SIZE, 1)):
        store = opened(rule, server)
        rule.exchange(store, 0, rule.update(before, after, 3), 0)
        ends.append(store[0])
    np.testing.assert_array_equal(*ends)


def both_orders(rule, server, before, one, other):
    """The server weights after two workers' commits, in either order; the second to commit is one update stale."""
    updates = {0: rule.update(before, one, 3), 1: rule.update(before, other, 2)}
    ends = []
    for order in ((0, 1), (1, 0)):
        store = opened(rule, server)
        for worker in (0, 1):
            rule.pull(store, worker)
        for staleness, worker in enumerate(order):
            rule.exchange(store, worker, updates[worker], staleness)
        ends.append(store[0])
    return ends


@given(vectors, vectors, vectors, vectors)
@pytest.mark.parametrize("rule", [DownpourRule(SIZE, 2), AdagRule(SIZE, 2)], ids=["DOWNPOUR", "ADAG"])
def test_commits_of_two_workers_commute(rule, server, before, one, other):
    np.testing.assert_allclose(*both_orders(rule, server, before, one, other), atol=1e-4)


@pytest.mark.parametrize("rule", [DynSGDRule(SIZE, 2), ExperimentalRule(SIZE, 2, 0.1), AEASGDRule(SIZE, 2, 0.3)])
def test_where_staleness_counts_the_order_does_too(rule):
    zero = np.zeros(SIZE, np.float32)
    first, second = both_orders(rule, zero, zero, GRADIENT, -2 * GRADIENT)
    assert not np.allclose(first, second)


@given(st.floats(0, 1, width=32), vectors, vectors, vectors)
def test_an_elastic_exchange_conserves_the_sum_of_worker_and_server(alpha, server, one, other):
    rule = AEASGDRule(SIZE, 2, alpha)
    store = opened(rule, server)
    weights = [one, other]
    before = sum(weights) + store[0]
    for worker in (0, 1, 0):
        weights[worker] = rule.resume(weights[worker], rule.exchange(store, worker, weights[worker], 5))
    np.testing.assert_allclose(sum(weights) + store[0], before, atol=1e-4)


@given(st.floats(0, 1, width=32), vectors, vectors)
def test_an_elastic_exchange_shrinks_the_distance_by_its_rate(alpha, server, weights):
    rule = AEASGDRule(SIZE, 1, alpha)
    store = opened(rule, server)
    after = rule.resume(weights, rule.exchange(store, 0, weights, 0))
    np.testing.assert_allclose(np.abs(after - store[0]), np.abs(1 - 2 * alpha) * np.abs(weights - server), atol=1e-4)
    if alpha == 0:
        np.testing.assert_array_equal(store[0], server)


@given(st.floats(0, 1, width=32), st.lists(st.tuples(st.integers(0, 2), vectors), min_size=1, max_size=9))
def test_the_mean_of_server_and_workers_moves_by_their_steps_alone(alpha, steps):
    rule = AEASGDMeanRule(SIZE, 3, alpha)
    store = opened(rule)
    weights = [rule.pull(store, worker) for worker in range(3)]
    for worker, step in steps:
        after = weights[worker] + step
        weights[worker] = rule.resume(after, rule.exchange(store, worker, rule.update(weights[worker], after, 1), 0))
    mean = START + sum(step for _, step in steps) / np.float32(4)
    np.testing.assert_allclose(rule.result(store)[0], mean, atol=1e-3)
    np.testing.assert_array_equal(rule.server_weights(store, 1), rule.result(store)[0])


def test_a_worker_that_starts_again_counts_by_the_weights_that_it_starts_from():
    rule = AEASGDMeanRule(SIZE, 1, 0.5)
    store = opened(rule, np.zeros(SIZE, np.float32))
    rule.exchange(store, 0, 4 * START, 0)
    store[0] = 3 * START
    np.testing.assert_array_equal(rule.pull(store, 0), 3 * START)
    np.testing.assert_array_equal(rule.result(store)[0], 3 * START)


def test_a_rate_of_one_swaps_worker_and_server():
    rule = AEASGDRule(SIZE, 1, 1.0)
    store = opened(rule, START)
    after = rule.resume(GRADIENT, rule.exchange(store, 0, GRADIENT, 0))
    np.testing.assert_array_equal(after, START)
    np.testing.assert_array_equal(store[0], GRADIENT)


@given(vectors, vectors, vectors)
def test_experimental_on_server_weights_that_have_not_moved_is_adag(server, before, after):
    ends = []
    for rule in (ExperimentalRule(SIZE, 1, 0.1), AdagRule(SIZE, 1)):
        store = opened(rule, server)
        rule.pull(store, 0)
        rule.exchange(store, 0, rule.update(before, after, 3), 0)
        ends.append(store[0])
    np.testing.assert_allclose(*ends, rtol=1e-6)


@given(st.lists(st.tuples(vectors, st.integers(0, 100)), min_size=1, max_size=5))
def test_averaging_weighs_every_worker_by_its_rows(parts):
    rule = SynchronousRule(SIZE, len(parts))
    store = opened(rule, START)
    rule.combine(store, [part for part, _ in parts], [rows for _, rows in parts])
    total = sum(rows for _, rows in parts)
    expected = sum(part.astype(float) * rows for part, rows in parts) / total if total else START
    np.testing.assert_allclose(store[0], expected, atol=1e-4)


def test_averaging_identical_workers_over_epochs_changes_nothing_but_their_training():
    rule = SynchronousRule(SIZE, 3)
    store = opened(rule, START)
    for epoch in range(1, 4):
        trained = rule.pull(store, 0) - RATE * GRADIENT
        rule.combine(store, [trained] * 3, [5, 5, 5])
        np.testing.assert_allclose(store[0], START - epoch * RATE * GRADIENT, rtol=1e-5)


def test_the_outer_optimizer_is_sgd_with_nesterovs_momentum():
    rule = SynchronousRule(SIZE, 1, outer_learning_rate=0.7, outer_momentum=0.9)
    store = opened(rule, START)
    server, velocity = START.astype(float), np.zeros(SIZE)
    for _ in range(5):
        rule.combine(store, [store[0] - GRADIENT], [1])
        velocity = 0.9 * velocity - GRADIENT
        server = server + 0.7 * (0.9 * velocity - GRADIENT)
        np.testing.assert_allclose(store[0], server, rtol=1e-4)


def test_members_of_an_ensemble_never_touch():
    rule = EnsembleRule(SIZE, 3)
    store = rule.open(np.arange(3 * SIZE, dtype=np.float32).reshape(3, SIZE))
    rule.exchange(store, 1, GRADIENT, 7)
    np.testing.assert_array_equal(rule.result(store)[[0, 2]], np.arange(3 * SIZE).reshape(3, SIZE)[[0, 2]])
    np.testing.assert_array_equal(rule.server_weights(store, 1), GRADIENT)


STATEFUL = [DownpourRule(0, 8), AdagRule(0, 8), DynSGDRule(0, 8), ExperimentalRule(0, 8, 1.0), AEASGDRule(0, 8, 0.5)]


@given(arrays(np.float32, 8, elements=st.floats(0.0078125, 1.0, width=32)))
@pytest.mark.parametrize("rule", STATEFUL, ids=[type(rule).__name__ for rule in STATEFUL])
def test_the_state_of_batch_normalization_is_averaged_so_a_variance_stays_positive(rule, variances):
    store = rule.open(np.ones((1, 1), np.float32))
    stale = rule.pull(store, 0)
    for worker, variance in enumerate(variances):
        trained = np.array([variance])
        went_on = rule.resume(trained, rule.exchange(store, worker, rule.update(stale, trained, 3), 7))
        np.testing.assert_allclose(went_on, store[0], rtol=1e-5)
    assert variances.min() <= store[0, 0] <= 1.0


@every_asynchronous
def test_an_exchange_keeps_the_workers_vectors_and_answers_with_a_copy(rule):
    before, after = np.zeros(SIZE, np.float32), np.ones(SIZE, np.float32)
    store = opened(rule)
    received = rule.exchange(store, 0, rule.update(before, after, 2), 0)
    assert before.sum() == 0
    assert after.sum() == SIZE
    server = store[0].copy()
    received += 1
    np.testing.assert_array_equal(store[0], server)


@every_asynchronous
@given(vectors, vectors, vectors)
def test_shards_do_what_the_whole_would(rule, server, before, after):
    rule = type(rule)(TRAINABLE, 2, *[getattr(rule, name) for name in rule.__dataclass_fields__][2:])

    def end(part, cut):
        store = part.open(server[None, cut])
        part.pull(store, 1)
        received = part.exchange(store, 1, part.update(before[cut], after[cut], 3), 1)
        return np.concatenate([store[0], part.resume(after[cut], received)])

    whole = end(rule, slice(0, SIZE)).reshape(2, SIZE)
    for middle in (1, 4, 5):
        left = end(rule.shard(0, middle), slice(0, middle)).reshape(2, -1)
        right = end(rule.shard(middle, SIZE), slice(middle, SIZE)).reshape(2, -1)
        np.testing.assert_array_equal(whole, np.hstack([left, right]))


@pytest.mark.parametrize("outer", [{}, {"outer_learning_rate": 0.7, "outer_momentum": 0.9}], ids=["mean", "outer optimizer"])
def test_weights_of_frozen_layers_stay_bit_for_bit_however_many_workers_are_averaged(outer):
    frozen = np.float32([0.1, 1 / 3])
    rule = SynchronousRule(TRAINABLE, 3, **outer)
    store = rule.open(np.append(START[:TRAINABLE], frozen)[None])
    for _ in range(20):
        rule.combine(store, [np.append(store[0, :TRAINABLE] - RATE, frozen)] * 3, [5, 7, 11])
    np.testing.assert_array_equal(store[0, TRAINABLE:], frozen)


@every_asynchronous
def test_weights_of_frozen_layers_stay_bit_for_bit(rule):
    frozen = np.float32([0.1, 1 / 3])
    rule = replace(rule, trainable=TRAINABLE, num_workers=3)
    store = opened(rule, np.append(START[:TRAINABLE], frozen))
    for worker in [0, 1, 2] * 10:
        before = rule.pull(store, worker)
        after = np.append(before[:TRAINABLE] - RATE, before[TRAINABLE:]).astype(np.float32)
        received = rule.resume(after, rule.exchange(store, worker, rule.update(before, after, 1), 0))
        np.testing.assert_array_equal(received[TRAINABLE:], frozen)
    np.testing.assert_array_equal(store[0, TRAINABLE:], frozen)
