"""Trial of a training step before the start, so that no training ends in its first epoch.

Some networks cannot train on what they can classify: BatchNorm needs more than one value per channel, so a last feature
map of 1 × 1 needs two images at a time; an auxiliary classifier needs a larger feature map than the network itself. The
trial computes the gradients of a step of the real size, in training mode, and leaves everything as it was.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ftlab.config.backbones import BackboneSpec
from ftlab.config.fields import format_flag
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ConfigError
from ftlab.models import freezing, network
from ftlab.models.buffer_snapshot import preserve_buffers
from ftlab.models.execution.micro_batches import is_out_of_memory
from ftlab.models.network import Network
from ftlab.training.devices import device_setup

_SIZE_ERRORS = (AssertionError, ValueError, RuntimeError, IndexError, ZeroDivisionError)
"""What libraries raise over an image or batch that is too small, each in its own way."""


@dataclass(frozen=True)
class TrialResult:
    """What a network can train on.

    Attributes:
        min_batch_size: fewest images that may pass through the network at once: 1 or 2.
        uses_auxiliary: whether the auxiliary classifiers can be trained; True where there are none.
        seconds: time of a step with the largest batch; 0 if it did not fit into the memory.
    """

    min_batch_size: int = 1
    uses_auxiliary: bool = True
    seconds: float = 0.0


def run_trial(
    net: Network,
    spec: BackboneSpec,
    config: TrainConfig,
    image_size: int,
    forward_sizes: tuple[int, int],
    accelerator: Accelerator,
) -> TrialResult:
    """Find out whether a network can train on images and batches of these sizes.

    Weights, buffers, gradients, flags and random states are the same afterwards.

    Args:
        net: the network, on its device; its auxiliary classifiers are left out if it cannot train otherwise.
        spec: its backbone.
        config: the resolved configuration.
        image_size: side of the images in pixels.
        forward_sizes: fewest and most images that pass through the network at once.
        accelerator: device and precision.

    Returns:
        The result.

    Raises:
        ConfigError: the network cannot train on images or batches of these sizes.
    """
    with _keep_state(net, accelerator.device):
        # In the last epoch everything is trained that is ever trained.
        freezing.freeze_for_epoch(net, config, config.epochs or 1)
        trial = _StepTrial(net, config, accelerator)
        if not (failure := trial.find_failure(forward_sizes, image_size)):
            return trial.make_result(image_size, uses_auxiliary=net.uses_auxiliary)
        if net.auxiliary and net.uses_auxiliary:
            net.uses_auxiliary = False
            freezing.freeze_for_epoch(net, config, config.epochs or 1)
            if not trial.find_failure(forward_sizes, image_size):
                return trial.make_result(image_size, uses_auxiliary=False)
        raise ConfigError(
            "config.trial_one" if failure.batch_size == 1 else "config.trial",
            title=spec.title, side=image_size, cause=failure.cause,
            remedy=_find_remedy(trial, failure, spec, image_size),
        )  # fmt: skip


@dataclass(frozen=True)
class _Failure:
    """A step that failed: number of images, and the first line of what the library says."""

    batch_size: int
    cause: str


class _StepTrial:
    """Computes and discards the gradients of steps.

    Attributes:
        seconds: time of the largest step that succeeded.
    """

    def __init__(self, net: Network, config: TrainConfig, accelerator: Accelerator) -> None:
        """Prepare steps of the module that a training optimizes.

        Args:
            net: the network, frozen as it is trained.
            config: the resolved configuration.
            accelerator: device and precision.
        """
        self.net, self.config, self.accelerator, self.seconds = net, config, accelerator, 0.0

    def find_failure(self, batch_sizes: Sequence[int], image_size: int) -> _Failure | None:
        """Take a step with the smallest and the largest batch.

        Sizes in between need no step: a network that takes two images takes any number.

        Args:
            batch_sizes: the fewest and the most images.
            image_size: side of the images in pixels.

        Returns:
            The first failure; None if both steps succeed.
        """
        for batch_size in dict.fromkeys(batch_sizes):
            if (cause := self._take_step(batch_size, image_size)) is not None:
                return _Failure(batch_size, cause)
        return None

    def make_result(self, image_size: int, *, uses_auxiliary: bool) -> TrialResult:
        """Return the result after successful steps; whether one image is enough is tried in any case.

        Args:
            image_size: side of the images in pixels.
            uses_auxiliary: whether the auxiliary classifiers took part.
        """
        # A batch may lose images that can no longer be read, until one is left.
        seconds = self.seconds
        min_batch_size = 1 if self._take_step(1, image_size) is None else 2
        return TrialResult(min_batch_size, uses_auxiliary, seconds)

    def _take_step(self, batch_size: int, image_size: int) -> str | None:
        """Compute the gradients of a step.

        A batch that does not fit into the memory counts as a success: the training divides it.

        Args:
            batch_size: images.
            image_size: side of the images in pixels.

        Returns:
            First line of the error; None if the step succeeds.
        """
        start_time = time.perf_counter()
        try:
            self._compute_gradients(batch_size, image_size)
            if self.accelerator.device.type == "cuda":
                torch.cuda.synchronize()
        except _SIZE_ERRORS as error:
            if is_out_of_memory(error):
                return None
            if isinstance(error, torch.AcceleratorError):  # the device is to blame
                raise
            return (str(error).strip().splitlines() or [type(error).__name__])[0]
        finally:
            for parameter in self.net.parameters():
                parameter.grad = None
        self.seconds = time.perf_counter() - start_time
        return None

    def _compute_gradients(self, batch_size: int, image_size: int) -> None:
        """Compute the gradients of a step with black images, as a training does.

        Args:
            batch_size: images.
            image_size: side of the images in pixels.
        """
        module: nn.Module = self.net.head if self.config.caches_features else self.net
        device = self.accelerator.device
        if self.config.caches_features:
            # The weights of a head know the length of its input.
            feature_dim = next(layer.in_features for layer in module.modules() if isinstance(layer, nn.Linear))
            inputs = torch.zeros(batch_size, feature_dim, device=device)
        else:
            inputs = torch.zeros(batch_size, 3, image_size, image_size, device=device)
        freezing.set_train_flags(module, self.config.batchnorm)
        with preserve_buffers(module):
            with device_setup.autocast(self.accelerator):
                logits_of_heads: tuple[Tensor, ...] = network.as_logits_tuple(module(inputs))
            # Any loss will do: whether its gradient can be computed depends on shapes only.
            torch.stack([logits.float().logsumexp(dim=1).sum() for logits in logits_of_heads]).sum().backward()


def _find_remedy(trial: _StepTrial, failure: _Failure, spec: BackboneSpec, image_size: int) -> str:
    """Return the sentence that says what to change for a network that cannot train; what it names was tried.

    Args:
        trial: tries the remedies.
        failure: what is wrong.
        spec: the backbone.
        image_size: side of the images in pixels.
    """
    pair_of_each_rank = 2 * trial.accelerator.num_processes
    is_batch_small = failure.batch_size == 1 and (trial.config.batch_size or 1) < pair_of_each_rank
    larger_batch_works = is_batch_small and not trial.find_failure((2, 2), image_size)
    own_side_works = image_size != spec.side and not trial.find_failure((failure.batch_size,) * 2, spec.side)
    remedy_name = {(True, True): "both", (True, False): "batch", (False, True): "side"}.get(
        (larger_batch_works, own_side_works), "backbone"
    )
    return messages.get_text(
        f"error.config.trial_{remedy_name}",
        batch=format_flag("batch_size"), count=pair_of_each_rank, size=format_flag("image_size"), native=spec.side,
    )  # fmt: skip


@contextmanager
def _keep_state(net: Network, device: torch.device) -> Iterator[None]:
    """Restore flags, gradients and all random states at the end of the block; `preserve_buffers` restores buffers.

    Args:
        net: the network.
        device: whose random state is kept besides that of the CPU.
    """
    training_flags = [(submodule, submodule.training) for submodule in net.modules()]
    gradients = [(parameter, parameter.requires_grad, parameter.grad) for parameter in net.parameters()]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.enable_grad():
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        for submodule, training_flag in training_flags:
            submodule.training = training_flag
        for parameter, requires_grad, gradient in gradients:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient
