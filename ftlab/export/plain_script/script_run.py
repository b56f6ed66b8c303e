"""The run that a plain script repeats: its settings and split, and what the script does otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftlab.config.backbones import BackboneSpec
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ExportError
from ftlab.data.dataset.catalog import Catalog, load_run_catalog
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.export.model_source import ModelSource

_NO_EQUIVALENTS = {
    "init_from": "",
    "layer_decay": 1.0,
    "unfreeze_epoch": 0,
    "unfreeze_from": "",
    "activations": "fresh",
    "unfreeze_all_epoch": 0,
    "gradual_unfreezing": False,
    "sampling": "shuffled",
    "mixup": 0.0,
    "cutmix": 0.0,
    "ema_decay": 0.0,
    "early_stopping_patience": 0,
    "max_minutes": 0.0,
}
"""Settings that a script of a hundred lines cannot express, with the value at which there is nothing to express."""
_NO_EQUIVALENT_CHOICES = {
    "schedule": "plateau",
    "optimizer": "rmsprop",
    "head_init": "imagenet",
    "precision": ("bf16", "fp16"),
    "rotate_border": "reflect",
}
"""Values without an equivalent, by setting."""


_OPAQUE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".bmp")
"""Ends of the names of images without transparency."""


@dataclass(frozen=True)
class ScriptRun:
    """A run as the source of a plain script.

    Attributes:
        name: of the run.
        config: with every default filled in.
        spec: of the backbone.
        prep: preprocessing of images.
        catalog: classes, and the split of each image.
        best_accuracy: on the validation images at the best epoch; None if none was measured.
    """

    name: str
    config: TrainConfig
    spec: BackboneSpec
    prep: Preprocessing
    catalog: Catalog
    best_accuracy: float | None

    @property
    def takes_weights_file(self) -> bool:
        """Whether the pretrained weights can be given as a file, because a package has it."""
        return self.spec.source == "timm" and self.config.mode != "scratch" and bool(self.spec.weights_package)

    @property
    def default_folder(self) -> str:
        """Name of the image folder, without the folders of this machine that it lies in."""
        return Path(self.config.data or self.config.sample or self.catalog.root.name).name

    @property
    def shown_folder(self) -> str:
        """`default_folder` on one line, as text for people."""
        return messages.escape_control_chars(self.default_folder)

    @property
    def may_have_transparency(self) -> bool:
        """Whether any image is of a format that can have transparent pixels: most are not."""
        return any(
            not item.path.lower().endswith(_OPAQUE_SUFFIXES) for items in self.catalog.splits.values() for item in items
        )

    @property
    def leaves_one_image(self) -> bool:
        """Whether the last batch of an epoch would have one image."""
        image_count, batch_size = len(self.catalog.splits["train"]), self.config.effective_batch_size
        return image_count % batch_size == 1 and image_count > batch_size

    @property
    def warmup_steps(self) -> int:
        """Steps in which the learning rate rises."""
        image_count = len(self.catalog.splits["train"]) - self.leaves_one_image
        batch_count = math.ceil(image_count / self.config.effective_batch_size)
        return int(self.config.warmup_fraction * batch_count * (self.config.epochs or 0))

    def make_split(self) -> dict[str, Any]:
        """Return `split.json`: the names of the classes, and path and label of the images of each split."""
        splits = {
            name: [[item.path, item.label] for item in items] for name, items in self.catalog.splits.items() if items
        }
        return {"classes": list(self.catalog.classes), **splits}

    def list_differences(self) -> list[str]:
        """Return the settings of the run that the script does not repeat, as flags with their values."""
        values = self.config.to_json()
        names = [name for name, neutral in _NO_EQUIVALENTS.items() if values[name] != neutral]
        for name, choices in _NO_EQUIVALENT_CHOICES.items():
            if values[name] in ((choices,) if isinstance(choices, str) else choices):
                names.append(name)
        if values["rotate"] == 0 and "rotate_border" in names:
            names.remove("rotate_border")  # nothing is rotated, so there is no border
        if self.config.grad_accum_steps > 1:
            names.append("grad_accum_steps")
        differences = [f"`{name}` = `{values[name]}`" for name in names]
        if self.spec.auxiliary and self.config.mode != "frozen":
            differences.append(messages.get_text("export.script_auxiliary"))
        if self.prep.value_ranges is None or any(vars(self.prep.value_ranges).values()):
            differences.append(messages.get_text("export.script_deep"))
        return differences


def read_script_run(source: ModelSource) -> ScriptRun:
    """Read what a plain script is made of.

    Args:
        source: a model with its run.

    Returns:
        Settings and split.

    Raises:
        ExportError: the model comes from no run.
    """
    if source.run is None:
        raise ExportError("export.no_run", title=source.predictor.title)
    predictor, run = source.predictor, source.run
    epochs = run.load_history().epochs
    best_accuracies = [epoch.val_accuracy for epoch in epochs if epoch.best]
    return ScriptRun(
        run.name,
        run.load_resolved_config(),
        predictor.spec,
        predictor.prep,
        load_run_catalog(run),
        best_accuracies[-1] if best_accuracies else None,
    )
