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
        "from torch.utils.data import DataLoader, Dataset": True,
        "from torchvision.transforms import v2": True,
    }
    return "\n".join(line for line, is_used in uses.items() if is_used)


def _write_settings(script_run: ScriptRun, body: str, is_notebook: bool) -> str:  # noqa: FBT001 (of this module)
    """Return the constants at the top of a script."""
    config, prep = script_run.config, script_run.prep
    folder = json_text(script_run.default_folder)
    if is_notebook:
        lines = [f"DATA = Path({folder})  # the folder of the images", 'SPLIT = Path("split.json")']
        weights = '""'
    else:
        lines = [
            f"DATA = Path(sys.argv[1] if len(sys.argv) > 1 else {folder})  # the folder of the images",
            'SPLIT = Path(__file__).with_name("split.json")',
        ]
        weights = 'sys.argv[2] if len(sys.argv) > 2 else ""'
    if "WEIGHTS" in body:
        lines.append(f"WEIGHTS = {weights}  # a file of the pretrained weights; without one timm downloads them")
    head_lr = (config.learning_rate or 0.0) * (config.head_lr_multiplier or 1.0)
    lines += [
        f"EPOCHS, BATCH_SIZE, SEED = {config.epochs}, {config.effective_batch_size}, {config.seed}",
        f"HEAD_LR = {head_lr:g}",
        *([] if config.mode == "frozen" else [f"BACKBONE_LR = {config.backbone_lr or config.learning_rate:g}"]),
        f"MEAN, STD = {list(prep.mean)}, {list(prep.std)}  # of the pixels, red, green and blue",
        "",
        'split = json.loads(SPLIT.read_text(encoding="utf-8"))',
        'CLASSES = split["classes"]',
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
    text = '''class ImageSet(Dataset):
    """Images and labels of one part of the split."""

    def __init__(self, files, transform):
        self.files, self.transform = files, transform

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        path, label = self.files[index]
        with Image.open(DATA / path) as file:
            image = ImageOps.exif_transpose(file)  # cameras note how they were held
        if image.has_transparency_data:  # transparent pixels show a white background
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        return self.transform(image.convert("RGB")), label


'''
    eval_steps = image_code.list_eval_steps(script_run)
    text += f"eval_transform = {image_code.compose(eval_steps)}\n"
    if config.caches_features:
        views = image_code.list_view_transforms(script_run)
        names = []
        for number, view in enumerate(views):
            if view == "eval_transform":
                names.append(view)
            elif view in views[:number]:
                names.append(names[views.index(view)])
            else:
                names.append(f"view_{number}_transform")
                text += f"{names[-1]} = {view}\n"
        return text + f"view_transforms = [{', '.join(names)}]"
    train_transform = "eval_transform"
    if config.augment != "none":
        steps = image_code.list_augment_steps(script_run, config.augment or "flip")
        text += f"train_transform = {image_code.compose(steps, config.random_erasing)}\n"
        train_transform = "train_transform"
    return (
        text
        + f"""train_set = ImageSet(split["train"], {train_transform})
val_batches = DataLoader(ImageSet(split["val"], eval_transform), BATCH_SIZE)"""
    )


def _write_network(script_run: ScriptRun) -> str:
    """Return backbone and head."""
    config = script_run.config
    parts = [network_code.write_backbone(script_run)]
    if config.mode == "frozen":
        parts[0] += "\nbackbone.requires_grad_(False)  # frozen"
    parts[0] += "" if config.head_kind == "logit" else "\n"
    head = network_code.write_head(config, script_run.spec.width, len(script_run.catalog.classes))
    parts.append(head if config.head_kind == "logit" else head.lstrip("\n"))
    parts.append("model = nn.Sequential(backbone, head).to(device)")
    if config.caches_features:
        parts[-1] += "\nbackbone.eval()\n\n"
        parts.append(loop_code.write_features())
    return "\n".join(parts)


def _write_optimizer(script_run: ScriptRun) -> str:
    """Return batches, optimizer and schedule."""
    batches, optimizer = loop_code.write_batches(script_run), network_code.write_optimizer(script_run.config)
    schedule = network_code.write_schedule(script_run.config)
    if not schedule.startswith("def "):
        return f"{batches}\n\n\n{optimizer.lstrip()}\n{schedule}"
    return f"{batches}\n\n\n{optimizer.lstrip()}\n\n\n{schedule}"


def _write_training(script_run: ScriptRun) -> str:
    """Return validation and loop."""
    weights = loop_code.write_class_weights() + "\n\n\n" if script_run.config.class_weights == "balanced" else ""
    return f"{weights}{loop_code.write_validation(script_run)}\n\n\n{loop_code.write_training(script_run)}"
