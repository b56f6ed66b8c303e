"""Progress of a feature extraction over the images of all splits."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ftlab.models.execution.features import Features
from ftlab.runs import events
from ftlab.runs.events import LogMessage, Progress


class FeatureProgress:
    """Progress over the images of all splits.

    Attributes:
        total_images: number of images.
        finished_images: number of images in the splits that are done.
        start_time: seconds of the monotonic clock.
    """

    def __init__(self, total_images: int, note: str) -> None:
        """Start the clock for `total_images` images; `note` is the code of the message at the end."""
        self.total_images, self.finished_images, self.note = total_images, 0, note
        self.start_time = self._last_report_time = time.monotonic()

    def report_progress(self, done_images: int) -> Iterator[Progress]:
        """Yield the progress after `done_images` images of the current split, if the last one is long enough ago."""
        now, done_images = time.monotonic(), self.finished_images + done_images
        if now - self._last_report_time > events.PROGRESS_INTERVAL_SECONDS:
            self._last_report_time = now
            yield Progress(
                stage="features",
                done=done_images,
                total=self.total_images,
                images_per_second=done_images / (now - self.start_time),
            )

    def report_totals(self, features_by_split: dict[str, Features]) -> Iterator[LogMessage]:
        """Yield how many features came from the cache, and how many were computed at which rate."""
        seconds = time.monotonic() - self.start_time
        cached_count = sum(split_features.cached_count for split_features in features_by_split.values())
        if cached_count:
            yield LogMessage(code=f"{self.note}_kept", values={"kept": cached_count, "images": self.total_images})
        if computed_count := self.total_images - cached_count:
            rate = round(computed_count / seconds)
            yield LogMessage(
                code=self.note, values={"images": computed_count, "seconds": round(seconds, 1), "rate": rate}
            )
