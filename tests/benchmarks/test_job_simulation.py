"""The simulation of a training on many ranks: its parts add up, and each assumption acts as it does by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.job_simulation import Cluster, Job, RankCosts, deal_images, draw_step_factors, simulate

COSTS = RankCosts(start=5.0, first_epoch=2.0, train_image=0.01, val_image=0.005, end=1.0, step_spread=0.0)
JOB = Job("small", 1000, 100, 3, 100, 4_000_000)
ALONE = Cluster(1, 1e9, 0.0)


def test_one_rank_takes_the_sum_of_its_parts() -> None:
    outcome = simulate(JOB, COSTS, ALONE)
    assert outcome.seconds == pytest.approx(5 + 2 + 3 * (1000 * 0.01 + 100 * 0.005) + 1)
    assert (outcome.exchanging, outcome.waiting, outcome.reading, outcome.lost, outcome.failures) == (0, 0, 0, 0, 0)


def test_two_equal_ranks_halve_the_work_and_pay_the_exchange() -> None:
    cluster = Cluster(2, 1e9, 0.001)
    outcome = simulate(JOB, COSTS, cluster)
    exchange = 2 * (0.001 + 2_000_000 / 1e9)
    assert cluster.compute_exchange_seconds(4_000_000) == pytest.approx(exchange)
    assert outcome.computing == pytest.approx(3 * 500 * 0.01)
    assert outcome.exchanging == pytest.approx(30 * exchange)
    assert outcome.sent_bytes == 30 * 4_000_000


def test_an_exchange_beside_the_backward_pass_costs_what_does_not_fit() -> None:
    cluster = Cluster(2, 1e6, 0.0)
    hidden, partly = (replace(cluster, overlap=share) for share in (1.0, 0.5))
    step, exchange = 50 * 0.01, 4.0
    assert simulate(JOB, COSTS, hidden).exchanging == pytest.approx(30 * (exchange - step))
    assert simulate(JOB, COSTS, partly).exchanging == pytest.approx(30 * (exchange - step / 2))
    assert simulate(replace(JOB, gradient_bytes=100), COSTS, hidden).exchanging == 0


def test_all_wait_for_a_slow_rank() -> None:
    slow = Cluster(4, 1e12, 0.0, slow_rank_share=0.25, slow_rank_factor=2.0)
    outcome = simulate(JOB, COSTS, slow)
    assert outcome.computing + outcome.waiting == pytest.approx(3 * 250 * 0.01 * 2)


def test_shards_are_dealt_whole_and_a_rank_without_one_waits() -> None:
    job = replace(JOB, shard_images=400)
    images = deal_images(job, 4, np.random.default_rng(0))
    assert sorted(images) == [0, 200, 400, 400]
    assert simulate(job, COSTS, replace(ALONE, rank_count=4)).waiting > 0
    assert deal_images(JOB, 4, np.random.default_rng(0)).tolist() == [250] * 4


def test_slow_storage_holds_up_the_steps() -> None:
    job = replace(JOB, image_bytes=100_000)
    outcome = simulate(job, COSTS, replace(ALONE, storage_bytes_per_second=5e6))
    assert outcome.computing + outcome.reading == pytest.approx(3 * 1000 * 100_000 / 5e6)
    assert outcome.read_bytes == 3 * 1000 * 100_000


def test_a_step_is_never_negative_and_takes_its_mean_on_average() -> None:
    factors = draw_step_factors(0.3, (20_000, 2), np.random.default_rng(1))
    assert factors.min() > 0
    assert factors.mean() == pytest.approx(1.0, abs=0.01)
    assert factors.std() == pytest.approx(0.3, abs=0.01)


def test_a_failure_loses_at_most_a_minute_and_the_restart() -> None:
    job = replace(JOB, epochs=400)
    outcome = simulate(job, COSTS, replace(ALONE, hours_between_failures=0.2, restart=20.0), seed=3)
    undisturbed = simulate(job, COSTS, ALONE)
    assert outcome.failures > 2
    assert outcome.seconds == pytest.approx(undisturbed.seconds + outcome.lost)
    assert 25 * outcome.failures <= outcome.lost <= (25 + 60) * outcome.failures


def test_the_same_seed_gives_the_same_job() -> None:
    cluster = Cluster(8, 1e9, 1e-5, hours_between_failures=0.01)
    costs = replace(COSTS, step_spread=0.2)
    assert simulate(JOB, costs, cluster, 5) == simulate(JOB, costs, cluster, 5)
    assert simulate(JOB, costs, cluster, 5) != simulate(JOB, costs, cluster, 6)
