"""Device, precision and threads of a training, by way of `accelerate`."""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import AutocastKwargs
from torch import Tensor, nn

from ftlab.config.train_config import TrainConfig
from ftlab.core import machine, messages
from ftlab.core.errors import ConfigError
from ftlab.core.machine import count_cpu_cores
from ftlab.models.execution.device import detect_device, is_zero_gpu
from ftlab.training.devices import distributed, rank_environment

_HEAD_ON_CPU_MAX_MULTIPLIES = 10_000_000
"""Multiplications in a head's step up to which the CPU is faster than a GPU: they take a millisecond on one core, as
long as a GPU takes to launch a hundred kernels of 10 µs each."""
_MULTITHREAD_MIN_MULTIPLIES = 30_000_000
"""Multiplications in a head's step above which several CPU threads are faster: below, waking them costs more."""
_AUTOCAST_OPTIONS = {"cache_enabled": False}
"""Options of autocast. Without its cache the casts of the weights are captured with a CUDA graph and repeated at each
replay; with it, replays would use the weights as they were when the graph was captured."""
_RECORDED_PACKAGES = ("torch", "torchvision", "timm", "accelerate", "pillow", "numpy")
"""Packages whose version may change the bits of a result."""


def create_accelerator(config: TrainConfig) -> Accelerator:
    """Create the accelerator for the configured device and precision, as one of the ranks if torchrun started several.

    Sets the number of PyTorch's threads too, and how memory is reused on the CPU, for the whole process.

    Args:
        config: names device, precision and threads, each of which may be automatic.

    Returns:
        The accelerator, with deterministic cuDNN kernels.

    Raises:
        ConfigError: the device is not available or does not support the precision, or the ranks that the launcher
            announced are not those that communicate.
    """
    available_device = detect_device()
    if config.device not in ("auto", "cpu", available_device):
        raise ConfigError("config.device", device=config.device, found=available_device)
    device = available_device if config.device == "auto" else config.device
    if device == "cpu" and config.precision == "fp16":
        raise ConfigError("config.precision", precision="fp16", device=device)
    torch.set_num_threads(config.torch_num_threads or count_cpu_cores())
    # Cached features need little memory, and extracting them frees much that other processes can use.
    if device == "cpu" and not config.caches_features:
        machine.keep_freed_memory()
    _reset_accelerate_state()
    # Kernels that sum in the same order each time, so that a resumed training gives the same bits on a GPU too.
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    precision = _resolve_precision(config.precision, device)
    distributed.join_restarted_group(device)
    accelerator = Accelerator(
        cpu=device == "cpu", mixed_precision=precision, kwargs_handlers=[AutocastKwargs(**_AUTOCAST_OPTIONS)]
    )
    world_size = rank_environment.get_world_size()
    if accelerator.num_processes != world_size:
        raise ConfigError("config.world_size", expected=world_size, actual=accelerator.num_processes)
    return accelerator


def prepare_model(accelerator: Accelerator, model: nn.Module) -> nn.Module:
    """Wrap a model for gradient exchange and reduced precision, where there are several ranks or there is the latter.

    Accelerate's own `prepare_model` adds nothing to a model of one process in float32, and imports PyTorch's tensors
    of several devices to find that out.

    Args:
        accelerator: ranks and precision.
        model: on its device.

    Returns:
        The wrapped model, or the model itself.
    """
    if accelerator.num_processes == 1 and not accelerator.native_amp:
        return model
    prepared_model: nn.Module = accelerator.prepare_model(model)
    return prepared_model


def autocast(accelerator: Accelerator) -> AbstractContextManager[object]:
    """Return the autocast context of the accelerator's precision; a null context in float32.

    Accelerate's own `autocast` clears and restores `os.environ` at each call, to learn its defaults. That takes a tenth
    of a head's step, and another thread that starts a process meanwhile gives it an empty environment.
    """
    # Accelerate's flag for any precision but float32.
    if not accelerator.native_amp:
        return nullcontext()
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[accelerator.mixed_precision]
    return torch.autocast(accelerator.device.type, dtype=dtype, **_AUTOCAST_OPTIONS)


def backward(accelerator: Accelerator, loss: Tensor) -> None:
    """Add the gradients of a loss to those of the parameters, scaled where float16 requires it.

    Accelerate's own `backward` divides by its number of accumulation steps first, which is always 1 here: two more
    kernels in each step.

    Args:
        accelerator: has the gradient scaler of float16.
        loss: scalar.
    """
    (accelerator.scaler.scale(loss) if accelerator.scaler else loss).backward()


def _resolve_precision(precision: str, device: str) -> str:
    """Return accelerate's name of a configured precision: `no`, `bf16` or `fp16`."""
    if precision == "auto":
        # On a CPU without matrix units bfloat16 is slower than float32.
        precision = "bf16" if device == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return {"fp32": "no"}.get(precision, precision)


def head_accelerator(accelerator: Accelerator, head: nn.Module, batch_size: int) -> Accelerator:
    """Return the accelerator that trains a head on cached features.

    A step of a small head on a GPU is nothing but kernel launches, so that the CPU is faster. Of several ranks each
    keeps its device, for they communicate over it.

    Args:
        accelerator: that of the whole network.
        head: the head.
        batch_size: features in a step.

    Returns:
        A new accelerator for the CPU in float32 if the head is small, else `accelerator`.
    """
    is_large = _count_multiplications(head, batch_size) > _HEAD_ON_CPU_MAX_MULTIPLIES
    if accelerator.device.type == "cpu" or accelerator.num_processes > 1 or is_large:
        return accelerator
    _reset_accelerate_state()
    return Accelerator(cpu=True, mixed_precision="no")


def set_head_threads(head: nn.Module, batch_size: int, max_threads: int) -> None:
    """Set PyTorch's threads for steps of a head on cached features: one, or all of them if the head is large.

    Args:
        head: the head.
        batch_size: features in a step.
        max_threads: the number for a large head.
    """
    torch.set_num_threads(max_threads if _count_multiplications(head, batch_size) > _MULTITHREAD_MIN_MULTIPLIES else 1)


def _count_multiplications(head: nn.Module, batch_size: int) -> int:
    """Return about how many multiplications a forward pass takes: one for each parameter and sample."""
    # True for the linear layers that a head is made of.
    return batch_size * sum(parameter.numel() for parameter in head.parameters())


def _reset_accelerate_state() -> None:
    """Let accelerate forget the device and precision that it keeps for the life of a process.

    Of several ranks none forgets: the process group belongs to the same state.
    """
    if PartialState._shared_state and PartialState().num_processes == 1:
        AcceleratorState._reset_state(reset_partial_state=True)


def describe_device(device: torch.device) -> str:
    """Return the device in words, such as `NVIDIA A10 (cuda)` or `cpu, 2 threads`; on ZeroGPU, why it is the CPU."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (cuda)"
    if device.type != "cpu":
        return device.type
    remark = f" ({messages.get_text('train.zero_gpu')})" if is_zero_gpu() else ""
    return f"cpu, {torch.get_num_threads()} threads{remark}"


def environment_info(accelerator: Accelerator) -> dict[str, Any]:
    """Return what the bits of a training depend on besides configuration and images, as plain JSON.

    A run records it, so that a resume on another machine can warn.

    Args:
        accelerator: device and ranks.

    Returns:
        Versions by package, names of system, CPU and device, and the number of ranks.
    """
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
    """Return the name of the CPU model, or of its architecture if the system does not tell it."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            model_name = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        model_name = ""
    return model_name or platform.processor() or platform.machine()


def broadcast_from_main(config: TrainConfig, make_text: Callable[[], str]) -> str:
    """Call a function on rank 0 only and broadcast the text it returns to all ranks.

    Args:
        config: configures the device, and with it the communication.
        make_text: called on rank 0.

    Returns:
        The text, on every rank.
    """
    accelerator = create_accelerator(config)
    return distributed.broadcast_object(accelerator, make_text() if accelerator.is_main_process else "")
