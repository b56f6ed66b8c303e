"""Numbers of images that pass through the network at once in a training."""

from __future__ import annotations

from ftlab.config.train_config import TrainConfig
from ftlab.data.loading.loader import batch_indices


def compute_micro_batch_size(config: TrainConfig, world_size: int) -> int:
    """Return the images of a micro-batch with gradient accumulation; 0 without, where a batch is not divided.

    Args:
        config: batch size and accumulated batches.
        world_size: number of ranks.
    """
    # Rounded up, so that the ranks together have a whole batch.
    return -(-(config.batch_size or 1) // world_size) if config.grad_accum_steps > 1 else 0


def compute_forward_sizes(
    image_count: int, config: TrainConfig, world_size: int, micro_batch_size: int
) -> tuple[int, int]:
    """Compute the fewest and the most images that pass through the network at once in an epoch.

    A network that needs two images gets them where a batch has two: a last micro-batch of one image is merged into the
    one before, and a rank with one image borrows another. So the fewest are 1 only where a batch, or a micro-batch, is
    meant to have one image.

    Args:
        image_count: training images.
        config: batch size and accumulated batches.
        world_size: number of ranks, which divide each batch.
        micro_batch_size: images of a micro-batch, 0 for a rank's whole part.

    Returns:
        Both sizes, at least 1.
    """
    batch_sizes = {len(indices) for indices in batch_indices(range(image_count), config.effective_batch_size)} or {1}
    fewest = max(min(batch_sizes) // world_size, min(2, *batch_sizes))
    most = max(fewest, -(-max(batch_sizes) // world_size))
    limit = micro_batch_size or most
    return min(fewest, limit), min(most, limit)
