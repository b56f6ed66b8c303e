"""Steps of full fine-tuning on the CPU under other choices, relative to the step as it is.

    python -m benchmarks.training_steps FOLDER --backbone mobilenet_v2 --rounds 3

Each choice runs in a process of its own, all of them in turn, on one batch of noise that is in memory. Printed are the
medians of the rounds' ratios of the time of a step, and the peak memory of the process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.full_speed import FullSpeedBenchmark
from benchmarks.process import run_python
from benchmarks.row import report_at_most
from ftlab.core import machine
from ftlab.models.execution import lean_activations

WARM_UP_STEPS = 2
"""Steps before those that count."""
MICRO_BATCH_IMAGES = 8


@dataclass(frozen=True)
class StepChoice:
    """One way to take a step.

    Attributes:
        title: for the row.
        apply: changes this process before the training is set up.
        settings: of the training.
        micro_batch_images: images that go through the network at a time; None for the whole batch.
        environment: variables of the process.
    """

    title: str
    apply: Callable[[], object] = bool
    settings: dict[str, Any] = field(default_factory=dict)
    micro_batch_images: int | None = None
    environment: dict[str, str] = field(default_factory=dict)


def copy_activations() -> None:
    """Run the network with the activation functions of PyTorch, which copy."""
    lean_activations.run_training_forward = lambda module, inputs: module(inputs)


def give_memory_back() -> None:
    """Leave glibc's allocator as it is."""
    machine.keep_freed_memory = bool


def lay_out_by_channel() -> None:
    """Keep images and weights in PyTorch's default memory format."""
    torch.channels_last = torch.contiguous_format


CHOICES: dict[str, StepChoice] = {
    "default": StepChoice("as it is"),
    "copied": StepChoice("activation functions that copy their input", apply=copy_activations),
    "given_back": StepChoice("freed memory is given back to the system", apply=give_memory_back),
    "huge_pages": StepChoice("huge pages", environment={"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}),
    "contiguous": StepChoice("channels first", apply=lay_out_by_channel),
    "denormals": StepChoice("denormal numbers flushed to zero", apply=lambda: torch.set_flush_denormal(True)),
    "micro_batches": StepChoice(f"in micro-batches of {MICRO_BATCH_IMAGES}", micro_batch_images=MICRO_BATCH_IMAGES),
    "compiled": StepChoice("compiled", settings={"compile": "yes"}),
}


def main() -> None:
    """Measure and print; with `--choice`, one choice in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--choices", nargs="+", choices=CHOICES, default=list(CHOICES))
    parser.add_argument("--choice", choices=CHOICES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.choice:
        print(json.dumps(measure_choice(options, CHOICES[options.choice])))
        return
    names = ["default", *(name for name in options.choices if name != "default")]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            arguments = ["-m", "benchmarks.training_steps", *sys.argv[1:], "--choice", name]
            results[name].append(run_python(arguments, **CHOICES[name].environment)[0])
    for name in names[1:]:
        ratio = statistics.median(
            new["seconds"] / old["seconds"] for new, old in zip(results[name], results["default"], strict=True)
        )
        (seconds, megabytes), (usual_seconds, usual_megabytes) = (
            [statistics.median(result[key] for result in results[choice]) for key in ("seconds", "peak_mb")]
            for choice in (name, "default")
        )
        report_at_most(
            f"Step of full fine-tuning, {options.backbone}, batches of {options.batch_size}, {CHOICES[name].title}: "
            "time relative to the step as it is",
            ratio,
            None,
            "×",
            f"{1e3 * seconds:.0f} and {1e3 * usual_seconds:.0f} ms, {megabytes:,.0f} and {usual_megabytes:,.0f} MB, "
            f"{options.rounds} rounds of {options.steps} steps",
        )


def measure_choice(options: Namespace, choice: StepChoice) -> dict[str, float]:
    """Take steps in one way.

    Args:
        options: of the program.
        choice: the way.

    Returns:
        `seconds`, of the fastest step, and `peak_mb`, of this process.
    """
    import resource  # not on Windows

    choice.apply()
    with TemporaryDirectory() as scratch:
        settings = {"compile": "no", **choice.settings}
        benchmark = FullSpeedBenchmark(
            Path(scratch),
            Namespace(
                data=str(options.folder),
                backbone=options.backbone,
                batch_size=options.batch_size,
                rounds=1,
                pictures=options.batch_size,
                settings=settings,
            ),
        )
        if choice.micro_batch_images:
            benchmark.train_step.micro_batcher.micro_batch_size = choice.micro_batch_images
        durations = [benchmark.time_steps(benchmark.noise_batches())[0] for _ in range(WARM_UP_STEPS + options.steps)]
        benchmark.feed.close()
    # Other processes can only slow a step down.
    return {
        "seconds": min(durations[WARM_UP_STEPS:]),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    main()
