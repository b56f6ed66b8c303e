"""A backbone's tensors without its architecture: for a training that computes nothing with the backbone.

Where all features are in the cache, only the head is trained. The backbone's tensors are still hashed, counted, and
written with the best weights; its layers are not needed, nor is the library that defines them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.data.dataset.catalog import Catalog
from ftlab.models import heads
from ftlab.models.heads import HeadSpec
from ftlab.models.network import Network
from ftlab.models.pretrained import backbone_records, weights

_MAX_INLINE_ELEMENTS = 64
"""Elements of a tensor that may be in the record itself, as counters of BatchNorm that a file of old does not have."""


class StoredBackbone(nn.Module):
    """Parameters and buffers of a pretrained backbone, in the order of its state dict; it computes nothing."""

    def __init__(self, tensors: Iterable[tuple[str, Tensor, bool]]) -> None:
        """Register the tensors.

        Args:
            tensors: path, tensor and whether it is a parameter.
        """
        super().__init__()
        for path, tensor, is_parameter in tensors:
            module: nn.Module = self
            *parents, name = path.split(".")
            for parent in parents:
                if parent not in dict(module.named_children()):
                    module.add_module(parent, nn.Module())
                module = module.get_submodule(parent)
            if is_parameter:
                module.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
            else:
                module.register_buffer(name, tensor)

    def forward(self, *_inputs: Tensor) -> Tensor:
        """Refuse to compute.

        Raises:
            RuntimeError: always; the caller has not restored the backbone.
        """
        raise RuntimeError("a stored backbone has no layers: it must be built before it computes")


def load_network(config: TrainConfig, catalog: Catalog) -> Network | None:
    """Build a network on a stored backbone, if its features were in the cache at the end of an earlier training.

    Args:
        config: the resolved configuration.
        catalog: the data set.

    Returns:
        The network, with the tensors of one that `network.build_network` builds, bit for bit; None if there is no
        record of it.
    """
    key = backbone_records.compute_record_key(config, catalog.compute_fingerprint())
    record = backbone_records.find_record(key) if key else None
    if record is None:
        return None
    spec, values = backbones.get_backbone_spec(config.backbone), json.loads(record)
    file_tensors = _read_file_tensors(weights.locate_weights(spec).file)
    try:
        backbone = StoredBackbone(
            (
                path,
                torch.tensor(inline, dtype=getattr(torch, dtype)) if source is None else file_tensors[source],
                is_parameter,
            )
            for path, is_parameter, source, inline, dtype in values["tensors"]
        )
    except KeyError:  # the file was replaced: whether it is damaged is for others to say
        return None
    with torch.random.fork_rng(devices=[]):
        # The head is drawn after the backbone, whose random weights nobody needs.
        torch.set_rng_state(torch.frombuffer(bytearray(base64.b64decode(values["rng_state"])), dtype=torch.uint8))
        head = heads.build_head(spec.width, len(catalog.classes), HeadSpec.from_config(config))
    return Network(backbone, head)


def record_backbone(net: Network, config: TrainConfig, catalog: Catalog) -> None:
    """Record a network's backbone, if each of its tensors is one of the weights file.

    Args:
        net: the network; its backbone is as it was built.
        config: the resolved configuration.
        catalog: the data set.
    """
    key = backbone_records.compute_record_key(config, catalog.compute_fingerprint())
    if key is None or net.head_rng_state is None or isinstance(net.backbone, StoredBackbone):
        return
    spec = backbones.get_backbone_spec(config.backbone)
    entries = _match_tensors(net.backbone, _read_file_tensors(weights.locate_weights(spec).file))
    if entries is not None:
        rng_state = base64.b64encode(net.head_rng_state.numpy().tobytes()).decode()
        backbone_records.put_record(key, json.dumps({"tensors": entries, "rng_state": rng_state}).encode())


def _match_tensors(backbone: nn.Module, file_tensors: dict[str, Tensor]) -> list[list[Any]] | None:
    """Find each tensor of a backbone in its weights file, by its name or its position.

    Args:
        backbone: of the network.
        file_tensors: the file's tensors by name.

    Returns:
        Path, whether it is a parameter, name in the file, else the elements, and dtype; None if one is not there.
    """
    parameter_names, file_names = {name for name, _ in backbone.named_parameters()}, list(file_tensors)
    entries: list[list[Any]] = []
    for position, (path, tensor) in enumerate(backbone.state_dict().items()):
        tensor = tensor.cpu()
        candidates = (path, *file_names[position : position + 1])
        source = next((name for name in candidates if _is_equal(file_tensors.get(name), tensor)), None)
        if source is None and tensor.numel() > _MAX_INLINE_ELEMENTS:
            return None
        inline = tensor.tolist() if source is None else None
        entries.append([path, path in parameter_names, source, inline, str(tensor.dtype).removeprefix("torch.")])
    return entries


def _is_equal(stored: Tensor | None, tensor: Tensor) -> bool:
    """Return whether two tensors have the same dtype, shape and elements."""
    return stored is not None and stored.dtype == tensor.dtype and torch.equal(stored, tensor)


def _read_file_tensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file by name; none if it cannot be read, or holds anything else."""
    try:
        values = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
    # torch raises nearly anything for a damaged file; whoever builds the backbone says what is wrong with it.
    except Exception:
        return {}
    is_flat = isinstance(values, dict) and all(isinstance(value, Tensor) for value in values.values())
    return dict(values) if is_flat else {}
