"""Every recipe on real data, as whole processes: the published result, the result here, and the time.

    FTLAB_TEST_DATA=folder python -m benchmarks.recipes [--only NAME …] [--seeds 3] [--write docs/recipes.md]

The folder is that of the tests: photographs of ants and bees, and weights of MobileNetV2. A recipe whose own images or
weights are not available runs on these, and is marked: that shows that its code path works, and reproduces nothing.
Results are kept in a file (`--results`), so that recipes can run one by one; the table shows all that are in it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.process import run_python
from ftlab.config import recipes

BEGIN_MARKER, END_MARKER = "<!-- made by benchmarks.recipes -->", "<!-- until here -->"


@dataclass(frozen=True)
class RecipePlan:
    """Settings with which a recipe runs here.

    Attributes:
        backbone: instead of the recipe's; empty for its own.
        layout: folders of the images of ants and bees: `val` as they are, `test` with the validation split as a test
            split, `flat` with class folders only.
        max_images: per class and split, 0 for all.
        pretrained: whether there are pretrained weights; else they are random.
        epochs: instead of the recipe's, 0 for its own.
        is_comparable: whether the result can be compared with the published one.
        note: what differs from the publication.
    """

    backbone: str = ""
    layout: str = "val"
    max_images: int = 0
    pretrained: bool = True
    epochs: int = 0
    is_comparable: bool = False
    note: str = ""


_PATH_ONLY_NOTE = "not reproduced, code path only: random weights, {n} pictures of ants and bees"
_ANTS_BEES_PLAN = RecipePlan("mobilenet_v2", is_comparable=True, note="MobileNetV2 in the place of ResNet-18")
RECIPE_PLANS = {
    "hotdog-finetune": RecipePlan("", "test", 40, pretrained=False, note=_PATH_ONLY_NOTE.format(n=160)),
    "hotdog-scratch": RecipePlan("", "test", 40, pretrained=False, note=_PATH_ONLY_NOTE.format(n=160)),
    "hotdog-frozen": RecipePlan("", "test", 40, pretrained=False, note=_PATH_ONLY_NOTE.format(n=160)),
    "hotdog-class-weight": RecipePlan(
        "tf_efficientnet_lite0", "test", note="not reproduced: EfficientNet-Lite0 on ants and bees"
    ),
    "ants-bees-finetune": _ANTS_BEES_PLAN,
    "ants-bees-frozen": _ANTS_BEES_PLAN,
    "ants-bees-frozen-cached": _ANTS_BEES_PLAN,
    "caltech101-vgg16": RecipePlan(
        "", "flat", 24, pretrained=False, epochs=4, note=_PATH_ONLY_NOTE.format(n=48) + ", 4 epochs"
    ),
    "cats-dogs-two-phase": RecipePlan("", "val", note="not reproduced: on ants and bees"),
    "quick": RecipePlan(is_comparable=True, note="on ants and bees"),
    "best": RecipePlan(is_comparable=True, note="on ants and bees"),
}
"""By name of the recipe."""


def main() -> None:
    """Run the selected recipes, and print the table of all results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=RECIPE_PLANS, default=list(RECIPE_PLANS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("recipes.jsonl"))
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--write", type=Path, help="page whose table is replaced")
    options = parser.parse_args()
    for name in [] if options.table else options.only:
        # One seed shows that a path works; more are for results to be compared.
        for seed in range(options.seeds if RECIPE_PLANS[name].is_comparable else 1):
            result = run_recipe(name, seed)
            print(json.dumps(result), flush=True)
            # Appended at once: an aborted series keeps its results.
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")
    markdown = render_table([json.loads(line) for line in options.results.read_text(encoding="utf-8").splitlines()])
    print(markdown)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        before, after = text.partition(BEGIN_MARKER)[0], text.partition(END_MARKER)[2]
        options.write.write_text(f"{before}{BEGIN_MARKER}\n{markdown}\n{END_MARKER}{after}", encoding="utf-8")


def run_recipe(name: str, seed: int) -> dict[str, Any]:
    """Return the results of one training in a process of its own, with its seconds from start to end.

    Args:
        name: name of the recipe.
        seed: the run's seed.
    """
    plan, data_home = RECIPE_PLANS[name], Path(os.environ["FTLAB_TEST_DATA"]).absolute()
    with tempfile.TemporaryDirectory() as scratch:
        image_folder = _lay_out_images(data_home / "data" / "hymenoptera", Path(scratch) / "pictures", plan)
        flags = ["--recipe", name, "--data", str(image_folder), "--runs", f"{scratch}/runs", "--seed", str(seed)]
        flags += ["--backbone", plan.backbone] if plan.backbone else []
        flags += ["--epochs", str(plan.epochs)] if plan.epochs else []
        code = "from ftlab.cli.main import main; import sys; sys.exit(main(['train', '--json', *sys.argv[1:]]))"
        if not plan.pretrained:
            code = f"import functools; from ftlab.training import loop\n{_RANDOM_WEIGHTS_CODE}\n{code}"
        environment = {"TORCH_HOME": str(data_home / "torch_home"), "FTLAB_HOME": f"{scratch}/home"}
        result, seconds = run_python(["-c", code, *flags], **environment)
        scores = _read_scores(Path(result["path"]))
    return {"recipe": name, "seed": seed, "seconds": seconds, **scores}


_RANDOM_WEIGHTS_CODE = "loop.train = functools.partial(loop.train, pretrained=False)"
"""Replaces `train` in the child process: the command has no flag for random weights in all modes."""


def _read_scores(run_folder: Path) -> dict[str, Any]:
    """Return accuracies and epochs from a run's events."""
    events = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    epochs = [event for event in events if event["event"] == "epoch"]
    # The last epoch that was best when it ended.
    best = max(epochs, key=lambda event: (event["best"], event["epoch"]))
    return {
        "untrained": epochs[0]["val_accuracy"],
        "best": best["val_accuracy"],
        "best_epoch": best["epoch"],
        "last": epochs[-1]["val_accuracy"],
        "epochs": epochs[-1]["epoch"],
    }


def _lay_out_images(source: Path, target: Path, plan: RecipePlan) -> Path:
    """Copy the images as a plan wants them.

    Args:
        source: folder of ants and bees.
        target: folder to copy to.
        plan: layout and number of images.

    Returns:
        The folder to train on: `source` itself if the plan wants all images as they are.
    """
    if plan.layout == "val" and not plan.max_images:
        return source
    split_names = {"train": "train", "val": {"test": "test"}.get(plan.layout, "val")}
    for split, name in split_names.items():
        for class_folder in sorted((source / split).iterdir()):
            target_folder = target / class_folder.name if plan.layout == "flat" else target / name / class_folder.name
            target_folder.mkdir(parents=True, exist_ok=True)
            for image_path in sorted(class_folder.iterdir())[: plan.max_images or None]:
                if image_path.suffix == ".jpg" and (plan.layout != "flat" or split == "train"):
                    shutil.copy(image_path, target_folder / f"{split}-{image_path.name}")
    return target


def render_table(results: list[dict[str, Any]]) -> str:
    """Return a Markdown table, a row per recipe, with medians over the seeds."""
    lines = [
        f"Measured on {_describe_machine()}; whole process with its start; "
        "medians, in brackets the least and the most.",
        "",
        "| recipe | published | ours, best validation | seeds | epochs | time | |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, plan in RECIPE_PLANS.items():
        # A repeated run replaces the earlier one of the same seed.
        seed_results = {result["seed"]: result for result in results if result["recipe"] == name}
        if not seed_results:
            continue
        best, seconds = (
            [result["best"] for result in seed_results.values()],
            [result["seconds"] for result in seed_results.values()],
        )
        published = ", ".join(f"{key} {value:g}" for key, value in recipes.get_recipe(name).published.items()) or "–"
        figure = f"{statistics.median(best):.3f}" + (f" ({min(best):.3f} … {max(best):.3f})" if len(best) > 1 else "")
        epochs = "/".join(sorted({str(result["epochs"]) for result in seed_results.values()}))
        time_text = f"{statistics.median(seconds):.0f} s"
        lines.append(
            f"| `{name}` | {published} | {figure} | {len(seed_results)} | {epochs} | {time_text} | {plan.note} |"
        )
    return "\n".join(lines)


def _describe_machine() -> str:
    """Return cores, GPU and versions of this machine."""
    gpu_name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no graphics card"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{os.cpu_count()} cores ({platform.machine()}), {gpu_name}, {versions}"


if __name__ == "__main__":
    main()
