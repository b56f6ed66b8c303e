"""The parts of a plain script, in order: each a piece of Python text with a sentence about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ftlab.core import messages
from ftlab.export.plain_script import image_code, loop_code, network_code
from ftlab.export.plain_script.script_run import ScriptRun


@dataclass(frozen=True)
class Section:
    """A part of a script, and a cell of a notebook.

    Attributes:
        key: of its title and explanation in the message file, below `export.section`.
        code: Python text.
    """

    key: str
    code: str

    @property
    def title(self) -> str:
        """Title, one short line."""
        return messages.get_text(f"export.section.{self.key}.title")

    @property
    def explanation(self) -> str:
        """Explanation, Markdown."""
        return messages.get_text(f"export.section.{self.key}.text")


def write_sections(script_run: ScriptRun, *, is_notebook: bool) -> list[Section]:
    """Write all parts of a script.

    Args:
        script_run: the run.
        is_notebook: for cells: a notebook has neither arguments nor a file of its own.

    Returns:
        The parts, in order.
    """
    builders: list[tuple[str, Callable[[ScriptRun], str]]] = [
        ("images", _write_images),
        ("network", _write_network),
        ("optimizer", _write_optimizer),
        ("training", _write_training),
    ]
    sections = [Section(key, build(script_run).strip("\n")) for key, build in builders]
    body = "\n".join(section.code for section in sections)
    settings = _write_imports(body, is_notebook=is_notebook) + "\n\n" + _write_settings(script_run, body, is_notebook)
    return [Section("settings", settings), *sections]


def _write_imports(body: str, *, is_notebook: bool) -> str:
    """Return the imports that the text of a script needs."""
    uses = {
        "import json": True,
        "import math": "math." in body,
        "import sys": not is_notebook,
        "from pathlib import Path": True,
        "": True,
        "import timm": "timm." in body,
        "import torch": True,
        "import torch.nn.functional as F": True,
        "import torchvision": "torchvision." in body,
        "from PIL import Image, ImageOps": True,
        "from torch import nn": True,
        "from torch.optim import lr_scheduler": "lr_scheduler." in body,
        "from torch.utils.data import DataLoader, Dataset, RandomSampler": "RandomSampler(" in body,
        "from torch.utils.data import DataLoader, Dataset": "RandomSampler(" not in body,
        "from torchvision.transforms import v2": True,
    }
    return "\n".join(line for line, is_used in uses.items() if is_used)


def _write_settings(script_run: ScriptRun, body: str, is_notebook: bool) -> str:  # noqa: FBT001 (of this module)
    """Return the constants at the top of a script."""
    config = script_run.config
    folder = json_text(script_run.default_folder)
    data, weights, split = (
        f"sys.argv[1] if len(sys.argv) > 1 else {folder}",
        'sys.argv[2] if len(sys.argv) > 2 else ""',
        '__file__).with_name("split.json"',
    )
    if is_notebook:
        data, weights, split = folder, '""', '"split.json"'
    lines = [f"DATA = Path({data})  # the folder of the images"]
    if "WEIGHTS" in body:
        lines.append(f"WEIGHTS = {weights}  # a file of the pretrained weights; without one timm downloads them")
    rates = {} if config.mode == "frozen" else {"BACKBONE_LR": config.backbone_lr or config.learning_rate or 0.0}
    rates["HEAD_LR"] = (config.learning_rate or 0.0) * (config.head_lr_multiplier or 1.0)
    names = ", ".join(("EPOCHS", "BATCH_SIZE", "SEED", *rates))
    numbers = [str(number) for number in (config.epochs, config.effective_batch_size, config.seed)]
    lines += [
        f"{names} = {', '.join([*numbers, *(f'{rate:g}' for rate in rates.values())])}",
        f'split = json.loads(Path({split}).read_text(encoding="utf-8"))',
        'device = torch.device("cuda" if torch.cuda.is_available() else "cpu")',
    ]
    return "\n".join(lines)


def json_text(text: str) -> str:
    """Return a Python literal of a text in double quotes, on one line."""
    literal = repr(text)
    return f'"{text}"' if literal == f"'{text}'" and '"' not in text else literal


def _write_images(script_run: ScriptRun) -> str:
    """Return the data set and its transforms."""
    config = script_run.config
    text = image_code.write_data_set(script_run)
    text += f"eval_transform = {image_code.write_compose(script_run, image_code.list_eval_steps(script_run))}\n"
    if config.caches_features:
        return text + image_code.write_view_transforms(script_run)
    train_transform = "eval_transform"
    if config.augment != "none":
        steps = image_code.list_augment_steps(script_run, config.augment or "flip")
        text += f"train_transform = {image_code.write_compose(script_run, steps, config.random_erasing)}\n"
        train_transform = "train_transform"
    return text + loop_code.write_loaders(script_run, train_transform)


def _write_network(script_run: ScriptRun) -> str:
    """Return backbone and head, and the features of a frozen backbone."""
    config = script_run.config
    text = network_code.write_backbone(script_run) + network_code.write_head(config, script_run.spec.width)
    text += "\nmodel = nn.Sequential(backbone, head).to(device)"
    if config.caches_features:
        text += f"\n\n\n{loop_code.write_features(script_run)}"
    return text


def _write_optimizer(script_run: ScriptRun) -> str:
    """Return optimizer and schedule."""
    return f"{network_code.write_optimizer(script_run.config)}\n{network_code.write_schedule(script_run)}"


def _write_training(script_run: ScriptRun) -> str:
    """Return the loop."""
    config = script_run.config
    weights = loop_code.write_class_weights() + "\n\n" if config.class_weights == "balanced" else ""
    loop = loop_code.write_training(
        script_run,
        has_views=config.views_per_image > 1,
        has_schedule=bool(network_code.write_schedule(script_run)),
    )
    return weights + loop
