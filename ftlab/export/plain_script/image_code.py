"""Python text of a run's transforms, as calls of torchvision's transforms v2."""

from __future__ import annotations

import math

from ftlab.export.plain_script.script_run import ScriptRun

_MIN_BLUR_SIGMA = 0.1


def list_eval_steps(script_run: ScriptRun) -> list[str]:
    """Return the transforms of the evaluation crop before normalization, one call each."""
    prep = script_run.prep
    size = f"({prep.resize}, {prep.resize})" if prep.resize_mode == "squash" else str(prep.resize)
    steps = [f"v2.Resize({size}, v2.InterpolationMode.{prep.interpolation.upper()})"]
    # Squashed to the square itself, nothing is left to crop.
    return steps if size == f"({prep.side}, {prep.side})" else [*steps, f"v2.CenterCrop({prep.side})"]


def list_augment_steps(script_run: ScriptRun, augment: str) -> list[str]:
    """Return the random transforms of a training image before normalization, in the order of the run.

    Args:
        script_run: the run.
        augment: `flip` starts with the evaluation crop, `crop` with a random crop.

    Returns:
        One call each.
    """
    config, prep = script_run.config, script_run.prep
    interpolation = f"v2.InterpolationMode.{prep.interpolation.upper()}"
    # The rotation sees the whole crop, so that the empty corners are cut off where it is larger than the square.
    steps, crop = list_eval_steps(script_run), []
    if augment == "crop":
        ratio, crop_side = config.crop_ratio or 4 / 3, config.crop_size or prep.side
        steps = [
            f"v2.RandomResizedCrop({crop_side}, scale=({config.crop_scale:g}, 1), "
            f"ratio=({1 / ratio:.4g}, {ratio:.4g}), interpolation={interpolation})"
        ]
        crop = [f"v2.CenterCrop({prep.side})"] if crop_side > prep.side else []
    elif config.rotate:
        steps, crop = steps[:1], steps[1:]
    jitter = [
        f"{name}={getattr(config, name):g}"
        for name in ("brightness", "contrast", "saturation", "hue")
        if getattr(config, name)
    ]
    kernel_size = 2 * math.ceil(3 * config.blur) + 1
    optional_steps = {
        f"v2.RandomRotation({config.rotate:g}, v2.InterpolationMode.BILINEAR)": config.rotate,
        **dict.fromkeys(crop, 1),
        f"v2.RandomHorizontalFlip({config.hflip:g})": config.hflip,
        f"v2.RandomVerticalFlip({config.vflip:g})": config.vflip,
        f"v2.ColorJitter({', '.join(jitter)})": jitter,
        f"v2.RandomGrayscale({config.grayscale:g})": config.grayscale,
        f"v2.GaussianBlur({kernel_size}, sigma=({_MIN_BLUR_SIGMA}, {config.blur:g}))": config.blur > _MIN_BLUR_SIGMA,
    }
    return steps + [step for step, is_used in optional_steps.items() if is_used]


def write_compose(script_run: ScriptRun, steps: list[str], random_erasing: float = 0.0) -> str:
    """Return the call that chains transforms, from an image of Pillow to a normalized tensor.

    Args:
        script_run: the run, for mean and standard deviation.
        steps: calls of transforms on uint8.
        random_erasing: probability that a box of the tensor is replaced by noise.

    Returns:
        Python text over several lines.
    """
    normalize = f"v2.Normalize({list(script_run.prep.mean)}, {list(script_run.prep.std)})"
    erasing = [f'v2.RandomErasing({random_erasing:g}, value="random")'] if random_erasing else []
    lines = ["v2.PILToTensor()", *steps, "v2.ToDtype(torch.float32, scale=True)", normalize, *erasing]
    return "v2.Compose(\n    [\n" + "".join(f"        {line},\n" for line in lines) + "    ]\n)"


def write_data_set(script_run: ScriptRun) -> str:
    """Return the text of the data set, from the files of the split to tensors."""
    opening = """        image = ImageOps.exif_transpose(Image.open(DATA / path))  # cameras note how they were held
"""
    if script_run.may_have_transparency:
        opening += """        if image.has_transparency_data:  # transparent pixels show a white background
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
"""
    return f'''class ImageSet(Dataset):
    """Images and labels of one part of the split."""

    def __init__(self, part, transform):
        self.files, self.transform = split[part], transform

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        path, label = self.files[index]
{opening}        return self.transform(image.convert("RGB")), label


'''


def write_view_transforms(script_run: ScriptRun) -> str:
    """Return the text of `view_transforms`, of the cached views of a training image; empty without augmentation."""
    config = script_run.config
    if config.views_per_image == 1:
        return ""
    if config.augment == "flip" and config.hflip > 0 and not config.active_augmentations:
        text = "mirror_transform = v2.Compose([eval_transform, v2.RandomHorizontalFlip(1)])\n"
        if config.views_per_image == 2:
            return f"{text}view_transforms = [eval_transform, mirror_transform]"
        # An image has one mirror image only: further views are random crops.
        crop = write_compose(script_run, list_augment_steps(script_run, "crop"))
        others = f"mirror_transform, *[crop_transform] * {config.views_per_image - 2}"
        return f"{text}crop_transform = {crop}\nview_transforms = [eval_transform, {others}]"
    steps = list_augment_steps(script_run, config.augment or "flip")
    text = f"train_transform = {write_compose(script_run, steps, config.random_erasing)}\n"
    return f"{text}view_transforms = [eval_transform, *[train_transform] * {config.views_per_image - 1}]"
