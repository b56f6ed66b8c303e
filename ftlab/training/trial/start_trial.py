"""The trial before the start of a training, or its result from an earlier one."""

from __future__ import annotations

from collections.abc import Generator

from accelerate import Accelerator

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.models.network import Network
from ftlab.runs.directory import Run
from ftlab.runs.events import LogMessage
from ftlab.training.trial import batch_sizes, step_trial, trial_cache
from ftlab.training.trial.step_trial import TrialResult

_AUXILIARY_KEY = "auxiliary"
"""Key of `config.json`: False where the auxiliary classifiers are left out."""


def try_training_step(
    net: Network,
    run: Run,
    config: TrainConfig,
    image_size: int,
    image_count: int,
    accelerator: Accelerator,
    micro_batch_size: int = 0,
) -> Generator[LogMessage, None, TrialResult]:
    """Try a training step, unless the same one passed before; see `step_trial.run_trial`.

    A network that cannot train on images or batches of this size raises a `ConfigError`.

    Args:
        net: the network, on its device. Auxiliary classifiers that do not work at this size are left out from now on.
        run: records that they are left out: a resumed run leaves them out too.
        config: the resolved configuration.
        image_size: side of the images in pixels.
        image_count: training images.
        accelerator: device and ranks.
        micro_batch_size: of a resumed training that divides its batches; 0 otherwise.

    Yields:
        A warning if auxiliary classifiers are left out.

    Returns:
        What the network can train on.
    """
    spec, world_size = backbones.get_backbone_spec(config.backbone), accelerator.num_processes
    micro_batch_size = micro_batch_size or batch_sizes.compute_micro_batch_size(config, world_size)
    forward_sizes = batch_sizes.compute_forward_sizes(image_count, config, world_size, micro_batch_size)
    net.uses_auxiliary = bool(run.read_config_file().get(_AUXILIARY_KEY, True))
    was_left_out = not net.uses_auxiliary
    cache = trial_cache.TrialCache()
    key = trial_cache.compute_trial_key(spec, config, image_size, forward_sizes, accelerator)
    result = cache.find(key)
    if result is None:
        result = step_trial.run_trial(net, spec, config, image_size, forward_sizes, accelerator)
        cache.store(key, result)
    net.uses_auxiliary = net.uses_auxiliary and result.uses_auxiliary
    if not (net.uses_auxiliary or was_left_out):
        if accelerator.is_main_process:
            run.write_json("config.json", {**run.read_config_file(), _AUXILIARY_KEY: False})
        yield LogMessage(code="no_auxiliary", values={"title": spec.title, "side": image_size}, level="warning")
    return result
