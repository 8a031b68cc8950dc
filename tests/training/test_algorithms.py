"""The update rules against the conditions their mathematics must meet, on plain vectors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from airflow_provider_distkeras.training.algorithms import ADAG, Sequential

SIZE, TRAINABLE = 6, 4
GRADIENT = np.array([1, -2, 0.5, 3, 0, 0], np.float32)
RATE = np.float32(0.1)
vectors = arrays(np.float32, SIZE, elements=st.floats(-8, 8, width=32))


def run_windows(rule, center, windows, steps):
    """One worker under a constant gradient."""
    weights = center.copy()
    for _ in range(windows):
        after = weights - steps * RATE * GRADIENT
        rule.apply(center, rule.update(weights, after, steps), 0)
        weights = rule.resume(after, center)
    return center


@pytest.mark.parametrize("steps", [1, 3, 12])
def test_adag_moves_the_center_by_one_mean_step_per_window(steps):
    start = np.ones(SIZE, np.float32)
    moved = run_windows(ADAG(TRAINABLE, 1), start.copy(), windows=5, steps=steps)
    np.testing.assert_allclose(moved, start - 5 * RATE * GRADIENT, rtol=1e-5)


def test_adag_with_one_worker_and_a_window_of_one_is_sequential_training():
    start = np.ones(SIZE, np.float32)
    adag = run_windows(ADAG(SIZE, 1), start.copy(), windows=7, steps=1)
    sequential = run_windows(Sequential(SIZE, 1), start.copy(), windows=7, steps=1)
    np.testing.assert_allclose(adag, sequential, rtol=1e-6)


def test_sequential_training_is_exact():
    start = np.ones(SIZE, np.float32)
    expected = start.copy()
    for _ in range(4):
        expected = expected - 3 * RATE * GRADIENT
    np.testing.assert_array_equal(run_windows(Sequential(SIZE, 1), start.copy(), windows=4, steps=3), expected)


@given(vectors, vectors, vectors, vectors)
def test_commits_of_two_workers_commute(center, before, one, other):
    rule = ADAG(SIZE, 2)
    updates = [rule.update(before, one, 3), rule.update(before, other, 2)]
    ends = []
    for order in (updates, updates[::-1]):
        end = center.copy()
        for update in order:
            rule.apply(end, update, 0)
        ends.append(end)
    np.testing.assert_allclose(*ends, atol=1e-4)


@given(arrays(np.float32, 8, elements=st.floats(0.0078125, 1.0, width=32)))
def test_the_state_of_batch_normalization_is_averaged_so_a_variance_stays_positive(variances):
    rule = ADAG(trainable=0, num_workers=8)
    center = np.ones(1, np.float32)
    stale = center.copy()
    for variance in variances:
        rule.apply(center, rule.update(stale, np.array([variance]), 3), 7)
    assert variances.min() <= center[0] <= 1.0


def test_an_update_does_not_change_the_workers_vectors():
    before, after = np.zeros(SIZE, np.float32), np.ones(SIZE, np.float32)
    ADAG(TRAINABLE, 1).update(before, after, 2)
    assert before.sum() == 0
    assert after.sum() == SIZE
