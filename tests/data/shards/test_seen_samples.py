"""Samples that were there before are known by key and image, in a few bytes each."""

from __future__ import annotations

from dataclasses import replace

from ftlab.data.shards.seen_samples import SeenSamples
from ftlab.data.shards.shard_sample import ShardSample

SAMPLE = ShardSample("1", b"image", "jpg", 0, None, "", 0, 0, 0)


def test_a_sample_is_new_once() -> None:
    seen = SeenSamples()
    assert seen.add(SAMPLE)
    assert not seen.add(replace(SAMPLE, offset=512, label=1))


def test_another_image_of_the_same_key_is_another_sample_and_so_is_another_key() -> None:
    seen = SeenSamples()
    assert all(seen.add(sample) for sample in (SAMPLE, replace(SAMPLE, image=b"other"), replace(SAMPLE, key="2")))


def test_ten_thousand_samples_are_told_apart() -> None:
    seen = SeenSamples()
    samples = [replace(SAMPLE, key=str(number)) for number in range(10_000)]
    assert all(map(seen.add, samples))
    assert not any(map(seen.add, samples))
