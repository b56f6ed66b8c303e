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
from ftlab.core.machine import count_cpu_cores

T = TypeVar("T")
_HEAD_ON_CPU_MAX_MULTIPLIES = 10_000_000
"""Multiplications of a head's step up to which a processor is faster: a millisecond's on one of its cores, where a card
is asked for a hundred kernels of a hundredth of a millisecond."""
_MULTITHREAD_MIN_MULTIPLIES = 30_000_000
"""Multiplications of a head's step from which on a processor's cores share it: below, to hand it over costs more."""
_AUTOCAST_OPTIONS = {"cache_enabled": False}
"""A pass that is recorded must cast the weights itself: with a cache it would go on with those of the record."""
_RECORDED_PACKAGES = ("torch", "torchvision", "timm", "accelerate", "pillow", "numpy")
"""Whose versions may change the bits."""


def detect_device() -> str:
    """The device that `auto` takes: cuda, mps, xpu or cpu."""
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        return "xpu"
    return "cpu"


def create_accelerator(config: TrainConfig) -> Accelerator:
    """An accelerator for the device, precision and threads of the configuration, alone or as one of the processes
    that torchrun started.

    Raises:
        ConfigError: the device or the precision is not to be had here.
    """
    available_device = detect_device()
    if config.device not in ("auto", "cpu", available_device):
        raise ConfigError("config.device", device=config.device, found=available_device)
    device = available_device if config.device == "auto" else config.device
    if device == "cpu" and config.precision == "fp16":
        raise ConfigError("config.precision", precision="fp16", device=device)
    torch.set_num_threads(config.threads or count_cpu_cores())
    _reset_accelerate_state()
    # The same sums in the same order each time, so that a resume gives the same bits on a card too.
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    precision = _resolve_precision(config.precision, device)
    return Accelerator(
        cpu=device == "cpu", mixed_precision=precision, kwargs_handlers=[AutocastKwargs(**_AUTOCAST_OPTIONS)]
    )


def autocast(accelerator: Accelerator) -> AbstractContextManager[object]:
    """The precision of a pass. Accelerate's own `autocast` empties and refills the environment each time that it is
    asked, to learn its defaults: a tenth of a head's step, and no other thread could start a process meanwhile."""
    if not accelerator.native_amp:
        return nullcontext()
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[accelerator.mixed_precision]
    return torch.autocast(accelerator.device.type, dtype=dtype, **_AUTOCAST_OPTIONS)


def backward(accelerator: Accelerator, loss: Tensor) -> None:
    """Add a loss's gradients, made larger where the precision asks for it, to what the parameters have. Accelerate's
    own divides by a number of steps first, which is always 1 here: two more kernels a step."""
    (accelerator.scaler.scale(loss) if accelerator.scaler else loss).backward()


def _resolve_precision(precision: str, device: str) -> str:
    if precision == "auto":
        # Without matrix units for it, bfloat16 is slower than float32 on a processor.
        precision = "bf16" if device == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return {"fp32": "no"}.get(precision, precision)


def head_accelerator(accelerator: Accelerator, head: nn.Module, batch_size: int) -> Accelerator:
    """What trains a head on features: an accelerator of the processor in float32, where a step on a card would be
    nothing but asking for its kernels; else the one that there is. Of several processes each keeps its own."""
    is_large = _count_multiplications(head, batch_size) > _HEAD_ON_CPU_MAX_MULTIPLIES
    if accelerator.device.type == "cpu" or accelerator.num_processes > 1 or is_large:
        return accelerator
    _reset_accelerate_state()
    return Accelerator(cpu=True, mixed_precision="no")


def set_head_threads(head: nn.Module, batch_size: int, max_threads: int) -> None:
    """Let a processor's steps of a head on features be computed by one thread, or by `max_threads` where that repays."""
    torch.set_num_threads(max_threads if _count_multiplications(head, batch_size) > _MULTITHREAD_MIN_MULTIPLIES else 1)


def _count_multiplications(head: nn.Module, batch_size: int) -> int:
    """Of a forward pass, about."""
    return batch_size * sum(parameter.numel() for parameter in head.parameters())


def _reset_accelerate_state() -> None:
    """Accelerate keeps to a process's first device and precision: let it ask anew, where it is not one of several."""
    if PartialState._shared_state and PartialState().num_processes == 1:
        AcceleratorState._reset_state(reset_partial_state=True)


def describe_device(device: torch.device) -> str:
    """The device for people, such as `NVIDIA A10 (cuda)` or `processor, 2 threads`."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (cuda)"
    return f"cpu, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type


def environment_info(accelerator: Accelerator) -> dict[str, Any]:
    """All that the bits of a training depend on beside its configuration and its pictures: plain JSON."""
    return {
        "versions": {package: version(package) for package in _RECORDED_PACKAGES}
        | {"python": platform.python_version()},
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": f"{_read_cpu_name()}, {torch.backends.cpu.get_cpu_capability()}",
            "device": describe_device(accelerator.device),
        },
        "processes": accelerator.num_processes,
    }


def _read_cpu_name() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            model_name = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        model_name = ""
    return model_name or platform.processor() or platform.machine()


def all_reduce_sum(accelerator: Accelerator, sums: Tensor) -> Tensor:
    """Sums over all processes."""
    if accelerator.num_processes == 1:
        return sums
    reduced: Tensor = accelerator.reduce(sums, "sum")
    return reduced


def any_rank(accelerator: Accelerator, flags: list[bool]) -> list[bool]:
    """Of each wish, whether any process has it: all must leave a loop at the same step."""
    if accelerator.num_processes == 1:
        return flags
    votes = torch.tensor(flags, dtype=torch.float32, device=accelerator.device)
    return [count > 0 for count in accelerator.reduce(votes, "sum").tolist()]


def shutdown(accelerator: Accelerator) -> None:
    """The end of what processes do together. One that ended while the group stood would be aborted by its threads."""
    accelerator.wait_for_everyone()
    if accelerator.num_processes > 1:
        accelerator.end_training()


def gather_sets(accelerator: Accelerator, local_sets: dict[str, set[int]]) -> dict[str, list[int]]:
    """Sets by name, over all processes, each sorted."""
    rank_sets = gather_object([local_sets]) if accelerator.num_processes > 1 else [local_sets]
    return {name: sorted(set().union(*(sets.get(name, ()) for sets in rank_sets))) for name in local_sets}


def broadcast_object(accelerator: Accelerator, value: T) -> T:
    """What the first process has, in all of them."""
    if accelerator.num_processes == 1:
        return value
    objects = [value]
    broadcast_object_list(objects)
    return objects[0]


def broadcast_from_main(config: TrainConfig, make_text: Callable[[], str]) -> str:
    """What the first process says, told to all of them."""
    accelerator = create_accelerator(config)
    return broadcast_object(accelerator, make_text() if accelerator.is_main_process else "")
