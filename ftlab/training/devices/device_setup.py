"""Where the arithmetic happens: device, precision, threads and processes, by `accelerate`."""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import AutocastKwargs, broadcast_object_list, gather_object
from torch import Tensor, nn

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError
from ftlab.core.machine import cores

T = TypeVar("T")
_SMALL = 10_000_000
"""Multiplications of a head's step up to which a processor is faster: a millisecond's on one of its cores, where a card
is asked for a hundred kernels of a hundredth of a millisecond."""
_SHARED = 30_000_000
"""Multiplications of a head's step from which on a processor's cores share it: below, to hand it over costs more."""
_CASTS = {"cache_enabled": False}
"""A pass that is recorded must cast the weights itself: with a cache it would go on with those of the record."""
_PACKAGES = ("torch", "torchvision", "timm", "accelerate", "pillow", "numpy")
"""Whose versions may change the bits."""


def available() -> str:
    """The device that `auto` takes: cuda, mps, xpu or cpu."""
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        return "xpu"
    return "cpu"


def open_device(config: TrainConfig) -> Accelerator:
    """An accelerator for the device, precision and threads of the configuration, alone or as one of the processes
    that torchrun started.

    Raises:
        ConfigError: the device or the precision is not to be had here.
    """
    found = available()
    if config.device not in ("auto", "cpu", found):
        raise ConfigError("config.device", device=config.device, found=found)
    device = found if config.device == "auto" else config.device
    if device == "cpu" and config.precision == "fp16":
        raise ConfigError("config.precision", precision="fp16", device=device)
    torch.set_num_threads(config.threads or cores())
    _forget()
    # The same sums in the same order each time, so that a resume gives the same bits on a card too.
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    precision = _precision(config.precision, device)
    return Accelerator(cpu=device == "cpu", mixed_precision=precision, kwargs_handlers=[AutocastKwargs(**_CASTS)])


def casts(accelerator: Accelerator) -> AbstractContextManager[object]:
    """The precision of a pass. Accelerate's own `autocast` empties and refills the environment each time that it is
    asked, to learn its defaults: a tenth of a head's step, and no other thread could start a process meanwhile."""
    if not accelerator.native_amp:
        return nullcontext()
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}[accelerator.mixed_precision]
    return torch.autocast(accelerator.device.type, dtype=kind, **_CASTS)


def backward(accelerator: Accelerator, loss: Tensor) -> None:
    """Add a loss's gradients, made larger where the precision asks for it, to what the parameters have. Accelerate's
    own divides by a number of steps first, which is always 1 here: two more kernels a step."""
    (accelerator.scaler.scale(loss) if accelerator.scaler else loss).backward()


def _precision(wanted: str, device: str) -> str:
    if wanted == "auto":
        # Without matrix units for it, bfloat16 is slower than float32 on a processor.
        wanted = "bf16" if device == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return {"fp32": "no"}.get(wanted, wanted)


def beside(accelerator: Accelerator, head: nn.Module, batch_size: int) -> Accelerator:
    """What trains a head on features: an accelerator of the processor in float32, where a step on a card would be
    nothing but asking for its kernels; else the one that there is. Of several processes each keeps its own."""
    large = _multiplications(head, batch_size) > _SMALL
    if accelerator.device.type == "cpu" or accelerator.num_processes > 1 or large:
        return accelerator
    _forget()
    return Accelerator(cpu=True, mixed_precision="no")


def use_threads(head: nn.Module, batch_size: int, most: int) -> None:
    """Let a processor's steps of a head on features be computed by one thread, or by `most` where that repays."""
    torch.set_num_threads(most if _multiplications(head, batch_size) > _SHARED else 1)


def _multiplications(head: nn.Module, batch_size: int) -> int:
    """Of a forward pass, about."""
    return batch_size * sum(parameter.numel() for parameter in head.parameters())


def _forget() -> None:
    """Accelerate keeps to a process's first device and precision: let it ask anew, where it is not one of several."""
    if PartialState._shared_state and PartialState().num_processes == 1:
        AcceleratorState._reset_state(reset_partial_state=True)


def name(device: torch.device) -> str:
    """The device for people, such as `NVIDIA A10 (cuda)` or `processor, 2 threads`."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (cuda)"
    return f"cpu, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type


def facts(accelerator: Accelerator) -> dict[str, Any]:
    """All that the bits of a training depend on beside its configuration and its pictures: plain JSON."""
    return {
        "versions": {package: version(package) for package in _PACKAGES} | {"python": platform.python_version()},
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}",
            "device": name(accelerator.device),
        },
        "processes": accelerator.num_processes,
    }


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            told = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        told = ""
    return told or platform.processor() or platform.machine()


def total(accelerator: Accelerator, sums: Tensor) -> Tensor:
    """Sums over all processes."""
    if accelerator.num_processes == 1:
        return sums
    reduced: Tensor = accelerator.reduce(sums, "sum")
    return reduced


def agree(accelerator: Accelerator, wishes: list[bool]) -> list[bool]:
    """Of each wish, whether any process has it: all must leave a loop at the same step."""
    if accelerator.num_processes == 1:
        return wishes
    votes = torch.tensor(wishes, dtype=torch.float32, device=accelerator.device)
    return [count > 0 for count in accelerator.reduce(votes, "sum").tolist()]


def part(accelerator: Accelerator) -> None:
    """The end of what processes do together. One that ended while the group stood would be aborted by its threads."""
    accelerator.wait_for_everyone()
    if accelerator.num_processes > 1:
        accelerator.end_training()


def union(accelerator: Accelerator, found: dict[str, set[int]]) -> dict[str, list[int]]:
    """Sets by name, over all processes, each sorted."""
    everyones = gather_object([found]) if accelerator.num_processes > 1 else [found]
    return {name: sorted(set().union(*(one.get(name, ()) for one in everyones))) for name in found}


def told(accelerator: Accelerator, what: T) -> T:
    """What the first process has, in all of them."""
    if accelerator.num_processes == 1:
        return what
    box = [what]
    broadcast_object_list(box)
    return box[0]


def first_says(config: TrainConfig, say: Callable[[], str]) -> str:
    """What the first process says, told to all of them."""
    accelerator = open_device(config)
    return told(accelerator, say() if accelerator.is_main_process else "")
