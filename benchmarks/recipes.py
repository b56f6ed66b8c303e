"""Every recipe on real data, as whole processes: what was published, what comes out here, how long it takes.

    FTLAB_TEST_DATA=folder python -m benchmarks.recipes [--only NAME …] [--seeds 3] [--write docs/recipes.md]

The folder is the one of the tests: photographs of ants and bees and the weights of MobileNetV2. A recipe whose own
pictures or weights are not there runs on what is, marked so: that shows that its path works, and reproduces nothing.
Results are kept in a file (`--results`), so that recipes can run one by one; the table is made of all that are in it.
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

from benchmarks.process import last_line
from ftlab.config import recipes

BEGIN, END = "<!-- made by benchmarks.recipes -->", "<!-- until here -->"


@dataclass(frozen=True)
class Plan:
    """How a recipe runs here.

    Attributes:
        backbone: in the place of the recipe's; empty for its own.
        layout: of the pictures of ants and bees: `val` as they are, `test` with a test part in the place of the
            validation, `flat`.
        pictures: at most so many a class and part, 0 for all.
        weights: whether there are pretrained ones; else they are random.
        epochs: in the place of the recipe's, 0 for its own.
        real: whether the figure can be held against the published one.
        note: what differs from what was published.
    """

    backbone: str = ""
    layout: str = "val"
    pictures: int = 0
    weights: bool = True
    epochs: int = 0
    real: bool = False
    note: str = ""


_PATH = "not reproduced, code path only: random weights, {n} pictures of ants and bees"
_OURS = Plan("mobilenet_v2", real=True, note="MobileNetV2 in the place of ResNet-18")
PLANS = {
    "hotdog-finetune": Plan("", "test", 40, weights=False, note=_PATH.format(n=160)),
    "hotdog-scratch": Plan("", "test", 40, weights=False, note=_PATH.format(n=160)),
    "hotdog-frozen": Plan("", "test", 40, weights=False, note=_PATH.format(n=160)),
    "hotdog-class-weight": Plan(
        "tf_efficientnet_lite0", "test", note="not reproduced: EfficientNet-Lite0 on ants and bees"
    ),
    "ants-bees-finetune": _OURS,
    "ants-bees-frozen": _OURS,
    "ants-bees-frozen-cached": _OURS,
    "caltech101-vgg16": Plan("", "flat", 24, weights=False, epochs=4, note=_PATH.format(n=48) + ", 4 epochs"),
    "cats-dogs-two-phase": Plan("", "val", note="not reproduced: on ants and bees"),
    "quick": Plan(real=True, note="on ants and bees"),
    "best": Plan(real=True, note="on ants and bees"),
}


def main() -> None:
    """Run what is asked for, and print the table of all results."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--only", nargs="*", choices=PLANS, default=list(PLANS))
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--results", type=Path, default=Path("recipes.jsonl"))
    asked.add_argument("--table", action="store_true", help="run nothing")
    asked.add_argument("--write", type=Path, help="page whose table is replaced")
    options = asked.parse_args()
    for name in [] if options.table else options.only:
        for seed in range(options.seeds if PLANS[name].real else 1):
            found = run(name, seed)
            print(json.dumps(found), flush=True)
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
    made = table([json.loads(line) for line in options.results.read_text(encoding="utf-8").splitlines()])
    print(made)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        before, after = text.partition(BEGIN)[0], text.partition(END)[2]
        options.write.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}", encoding="utf-8")


def run(name: str, seed: int) -> dict[str, Any]:
    """One training in a process of its own; its figures and seconds from start to end."""
    plan, home = PLANS[name], Path(os.environ["FTLAB_TEST_DATA"]).absolute()
    with tempfile.TemporaryDirectory() as scratch:
        pictures = _laid_out(home / "data" / "hymenoptera", Path(scratch) / "pictures", plan)
        flags = ["--recipe", name, "--data", str(pictures), "--runs", f"{scratch}/runs", "--seed", str(seed)]
        flags += ["--backbone", plan.backbone] if plan.backbone else []
        flags += ["--epochs", str(plan.epochs)] if plan.epochs else []
        code = "from ftlab.cli.main import main; import sys; sys.exit(main(['train', '--json', *sys.argv[1:]]))"
        if not plan.weights:
            code = f"import functools; from ftlab.training import loop\n{_RANDOM}\n{code}"
        places = {"TORCH_HOME": str(home / "torch_home"), "FTLAB_HOME": f"{scratch}/home"}
        ended, seconds = last_line(["-c", code, *flags], **places)
        scores = _scores(Path(ended["path"]))
    return {"recipe": name, "seed": seed, "seconds": seconds, **scores}


_RANDOM = "loop.train = functools.partial(loop.train, weights=False)"


def _scores(folder: Path) -> dict[str, Any]:
    """What the run's events tell."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    epochs = [row for row in rows if row["event"] == "epoch"]
    best = max(epochs, key=lambda row: (row["best"], row["epoch"]))
    return {
        "untrained": epochs[0]["val_accuracy"],
        "best": best["val_accuracy"],
        "best_epoch": best["epoch"],
        "last": epochs[-1]["val_accuracy"],
        "epochs": epochs[-1]["epoch"],
    }


def _laid_out(source: Path, to: Path, plan: Plan) -> Path:
    """The pictures as a plan wants them; as they are where it wants all of them so."""
    if plan.layout == "val" and not plan.pictures:
        return source
    parts = {"train": "train", "val": {"test": "test"}.get(plan.layout, "val")}
    for part, name in parts.items():
        for kind in sorted((source / part).iterdir()):
            place = to / kind.name if plan.layout == "flat" else to / name / kind.name
            place.mkdir(parents=True, exist_ok=True)
            for file in sorted(kind.iterdir())[: plan.pictures or None]:
                if file.suffix == ".jpg" and (plan.layout != "flat" or part == "train"):
                    shutil.copy(file, place / f"{part}-{file.name}")
    return to


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line a recipe, medians over the seeds."""
    lines = [
        f"Measured on {_machine()}; whole process with its start; medians, in brackets the least and the most.",
        "",
        "| recipe | published | ours, best validation | seeds | epochs | time | |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, plan in PLANS.items():
        own = {row["seed"]: row for row in rows if row["recipe"] == name}
        if not own:
            continue
        best, seconds = [row["best"] for row in own.values()], [row["seconds"] for row in own.values()]
        published = ", ".join(f"{key} {value:g}" for key, value in recipes.get(name).published.items()) or "–"
        figure = f"{statistics.median(best):.3f}" + (f" ({min(best):.3f} … {max(best):.3f})" if len(best) > 1 else "")
        epochs = "/".join(sorted({str(row["epochs"]) for row in own.values()}))
        took = f"{statistics.median(seconds):.0f} s"
        lines.append(f"| `{name}` | {published} | {figure} | {len(own)} | {epochs} | {took} | {plan.note} |")
    return "\n".join(lines)


def _machine() -> str:
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no graphics card"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{os.cpu_count()} cores ({platform.machine()}), {card}, {versions}"


if __name__ == "__main__":
    main()
