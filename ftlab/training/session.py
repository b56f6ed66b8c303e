"""What is known of a training: before its network exists, and before its next step."""

from __future__ import annotations

from dataclasses import dataclass

from accelerate import Accelerator

from ftlab.config.train_config import TrainConfig
from ftlab.data.dataset.catalog import Catalog
from ftlab.models.activations.split_backbone import BackboneSplit
from ftlab.runs.directory import Run
from ftlab.training.checkpoints.checkpoint import CheckpointManager, TrainState
from ftlab.training.compile import ModelCompiler
from ftlab.training.feeds.base import BatchSource
from ftlab.training.feeds.image_base import ImageFeedBase
from ftlab.training.metrics import BatchedMetricSums, MetricSums
from ftlab.training.optim import phases
from ftlab.training.stopping import StopController
from ftlab.training.train_step import TrainStep


@dataclass(frozen=True)
class Session:
    """A training whose data and state are known, before its network exists.

    Attributes:
        config: the resolved configuration.
        run: the run directory; only rank 0 writes to it.
        accelerator: device, precision and ranks of whatever passes through the whole network.
        catalog: classes and images by split.
        train_state: how far the training is; the loop moves it on.
        stop_controller: decides when to stop and when to save.
        split: boundary below which the activations are computed once; None where they are not, or not yet known.
    """

    config: TrainConfig
    run: Run
    accelerator: Accelerator
    catalog: Catalog
    train_state: TrainState
    stop_controller: StopController
    split: BackboneSplit | None = None

    @property
    def phase_config(self) -> TrainConfig:
        """Configuration of the phase that the next epoch belongs to, see `phases.get_phase_config`."""
        return phases.get_phase_config(self.config, phases.get_epoch_phase(self.config, self.train_state.epoch))


@dataclass(frozen=True)
class PreparedTraining:
    """Everything the epochs of a training need.

    Attributes:
        session: configuration, run directory, data and state.
        accelerator: device and ranks of the training steps. It is not that of the session where a head is trained on
            the CPU by features that a GPU computed.
        image_feed: the decoded images, closed already where the steps take cached features or activations.
        feed: what the steps and the validation iterate over.
        train_step: computes and applies the gradients of a step.
        compiler: decides at the first step whether the network is compiled.
        checkpoint_manager: writes the best weights and the state to resume from.
        epoch_sums: training metrics since the epoch began.
        recent_sums: training metrics since the last `Step` event.
        batched_sums: adds batches to both, several at a time.
        epochs: the last epoch, counted from 1.
        step_event_interval: optimizer steps from one `Step` event to the next.
    """

    session: Session
    accelerator: Accelerator
    image_feed: ImageFeedBase
    feed: BatchSource
    train_step: TrainStep
    compiler: ModelCompiler
    checkpoint_manager: CheckpointManager
    epoch_sums: MetricSums
    recent_sums: MetricSums
    batched_sums: BatchedMetricSums
    epochs: int
    step_event_interval: int
