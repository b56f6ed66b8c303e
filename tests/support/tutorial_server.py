"""A tutorial's data set that a loopback server offers."""

from __future__ import annotations

import hashlib
import io
import random
import zipfile

import pytest

from ftlab.data.sources import download, tutorial_datasets
from ftlab.data.sources.tutorial_datasets import TutorialDataset
from tests.support import drawn_images

PICTURE = drawn_images.png()


def packed(*more: tuple[str, bytes]) -> bytes:
    """A zip as the sources make theirs: one folder at its top, some noise to be large."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as out:
        for name in ("ants", "bees"):
            for number in range(4):
                out.writestr(f"pets/train/{name}/{number}.png", PICTURE)
                out.writestr(f"pets/val/{name}/{number}.png", PICTURE)
        out.writestr("pets/noise.pdf", random.Random(1).randbytes(400_000))
        for entry, content in more:
            out.writestr(entry, content)
    return stream.getvalue()


CONTENT = packed()


def offer_pets(url: str, patch: pytest.MonkeyPatch) -> TutorialDataset:
    """Name the data set `pets` at the address of a server of `CONTENT`; a broken download is tried again at once."""
    patch.setattr(download, "RETRY_DELAY_SECONDS", 0.01)
    dataset = TutorialDataset(
        name="pets",
        title="Pets",
        pictures="some",
        source="a test",
        page="https://example.org",
        url=url,
        file="pets.zip",
        megabytes=1,
        bytes=len(CONTENT),
        sha1=hashlib.sha1(CONTENT).hexdigest(),
        terms="none",
    )
    patch.setitem(tutorial_datasets.DATASETS, "pets", dataset)
    return dataset
