"""Costs that `growth` measures and `drawing` draws."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ScanCost:
    """Cost of scanning a folder.

    Attributes:
        list_seconds: seconds to list its files.
        verify_seconds: seconds to list and decode them.
        rescan_seconds: seconds to scan it again, with all files in the cache of verified files.
        megabytes: peak memory in 10⁶ bytes.
    """

    list_seconds: float
    verify_seconds: float
    rescan_seconds: float
    megabytes: float


@dataclass(frozen=True)
class TrainingCost:
    """Cost of a training.

    Attributes:
        seconds: seconds of the whole command.
        feature_seconds: seconds of them for the frozen backbone's features.
        peak_megabytes: peak memory of each process in 10⁶ bytes.
    """

    seconds: float
    feature_seconds: float
    peak_megabytes: tuple[float, ...]

    @property
    def megabytes(self) -> float:
        """Sum of the processes' peaks in 10⁶ bytes."""
        return sum(self.peak_megabytes)

    @property
    def summary(self) -> str:
        """Time and memory in one line."""
        peaks_text = " + ".join(f"{peak:.0f}" for peak in self.peak_megabytes)
        peaks_text = f" ({peaks_text})" if len(self.peak_megabytes) > 1 else ""
        return f"{self.seconds:.0f} s, {self.megabytes:.0f} MB{peaks_text}"


ScanCosts = dict[int, ScanCost]
"""By number of images."""
TrainingCosts = dict[int, dict[int, TrainingCost]]
"""By number of processes, then number of images."""
