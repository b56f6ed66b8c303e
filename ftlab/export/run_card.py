"""What a model card says of the run: data, training, metrics with their intervals, limits, how to train it again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ftlab.config import train_config
from ftlab.config.fields import format_flag
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages, shell
from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog
from ftlab.evaluation import datasets, evaluate
from ftlab.evaluation.metrics import Proportion
from ftlab.runs.directory import Run

if TYPE_CHECKING:
    from ftlab.config.backbones import BackboneSpec
    from ftlab.evaluation.evaluate import Evaluation

_PRIVATE_SETTINGS = ("exclude", "init_from", "trackers", "copy_to")
"""Settings that may name folders or accounts of this machine."""
_PRETRAINED_MODES = ("frozen", "full")
_SHOWN_SETTINGS = ("mode", "epochs", "batch_size", "optimizer", "learning_rate", "schedule", "augment", "seed")
"""Settings in the table; the command has all others that are no defaults."""


@dataclass(frozen=True)
class RunFacts:
    """Facts about a training, from the files of its run.

    Attributes:
        config: with automatic values resolved, as far as the run has come.
        given_config: as it was given.
        data_name: last part of the path of the data set, or name of the sample set; no folder of this machine.
        image_counts: images by class and split.
        evaluations: by split, those whose images could be evaluated.
        proportions: correct images by split.
        versions: of packages.
    """

    config: TrainConfig
    given_config: TrainConfig
    data_name: str
    image_counts: dict[str, dict[str, int]]
    evaluations: dict[str, Evaluation]
    proportions: dict[str, Proportion]
    versions: dict[str, str]

    @property
    def derives_from_pretrained(self) -> bool:
        """Whether the weights derive from the backbone's pretrained ones, and with them their license."""
        return self.config.mode in _PRETRAINED_MODES and not self.given_config.init_from

    def find_licence(self, spec: BackboneSpec) -> str:
        """Return the license of the weights.

        Args:
            spec: of the backbone.

        Returns:
            That of the pretrained weights in lower case, as the Hub writes it; empty if the model was not trained from
            them or they state none.
        """
        return spec.licence.lower() if self.derives_from_pretrained else ""


def collect_run_facts(
    run: Run, run_catalog: Catalog, weights_choice: str = "best", *, evaluates: bool = False
) -> RunFacts:
    """Collect what a model card says of a run.

    Args:
        run: with weights.
        run_catalog: its split.
        weights_choice: `best` or `last`.
        evaluates: ask the model about the validation images if no evaluation is stored, and store it in the run.

    Returns:
        The facts. Without an evaluation of the validation images, their accuracy is that of the training's log.
    """
    content = run.read_config_file()
    given_config = run.load_config()
    config = run.load_resolved_config() if "resolved" in content else given_config
    evaluations: dict[str, Evaluation] = {}
    for split in ("val", "test"):
        found = _find_evaluation(run, run_catalog, split, weights_choice, evaluates=evaluates and split == "val")
        if found is not None and found.result.dataset_name == split:
            evaluations[split] = found
    proportions: dict[str, Proportion] = {split: found.metrics.top1 for split, found in evaluations.items()}
    best_epoch = run.load_history().best_epoch
    val_count = len(run_catalog.splits["val"])
    if (
        "val" not in proportions
        and weights_choice == "best"
        and best_epoch
        and best_epoch.val_accuracy is not None
        and val_count
    ):
        proportions["val"] = Proportion(round(best_epoch.val_accuracy * val_count), val_count)
    return RunFacts(
        config,
        given_config,
        given_config.sample or PurePath(given_config.data).name,
        run_catalog.count_images(),
        evaluations,
        proportions,
        {str(name): str(version) for name, version in content.get("versions", {}).items()},
    )


def _find_evaluation(
    run: Run, run_catalog: Catalog, split: str, weights_choice: str, *, evaluates: bool
) -> Evaluation | None:
    """Return the evaluation of a split; None if its images are gone, it has none, or none is stored."""
    try:
        dataset = datasets.select_split(run_catalog, split, run.name)
        if evaluates:
            return evaluate.evaluate_with_decision(run, dataset, weights_choice)
        return evaluate.load_evaluation(run, dataset, weights_choice)
    except DataError:
        return None


def describe_run(facts: RunFacts) -> str:
    """Return the sections of a model card about a run, Markdown.

    Args:
        facts: of the run.

    Returns:
        Markdown.
    """
    values: dict[str, Any] = {
        "data": escape_markdown(facts.data_name),
        "counts": _format_counts(facts.image_counts),
        "settings": "\n".join(
            f"| `{name}` | {escape_markdown(str(getattr(facts.config, name)))} |" for name in _SHOWN_SETTINGS
        ),
        "command": format_training_command(facts),
        "versions": ", ".join(f"{name} {version}" for name, version in facts.versions.items()) or "–",
    }
    return join_sections(
        messages.get_text("export.card_run", **values),
        describe_metrics(facts),
        messages.get_text("export.card_limits", **values),
    )


def join_sections(*sections: str) -> str:
    """Return sections of a card one after the other, Markdown, with a blank line before each.

    Args:
        *sections: of the card; empty ones are left out.

    Returns:
        Markdown that ends without a line break.
    """
    return "\n\n".join(section.strip("\n") for section in sections if section.strip())


def describe_metrics(facts: RunFacts) -> str:
    """Return the section of the metrics, Markdown."""
    rows = [
        messages.get_text(
            "export.row_accuracy",
            split=split,
            accuracy=proportion.fraction,
            low=proportion.confidence_interval[0],
            high=proportion.confidence_interval[1],
            correct=proportion.correct,
            n=proportion.n,
            balanced=f"{evaluation.metrics.balanced_accuracy:.1%}" if evaluation else "–",
            loss=f"{evaluation.metrics.loss:.4f}" if evaluation else "–",
        )
        for split, proportion in facts.proportions.items()
        for evaluation in (facts.evaluations.get(split),)
    ]
    return messages.get_text("export.card_metrics", rows="\n".join(rows)) if rows else ""


def format_training_command(facts: RunFacts) -> str:
    """Return the command that trains such a run again; it names the data set, and no folder of this machine.

    Args:
        facts: of the run.

    Returns:
        One line for a shell.
    """
    config = facts.given_config
    words = ["python", "-m", "ftlab", "train"]
    words += ["--sample", config.sample] if config.sample else ["--data", facts.data_name]
    words += ["--backbone", config.backbone, "--mode", config.mode]
    for field in dataclasses.fields(TrainConfig):
        value = getattr(config, field.name)
        is_told = field.name in ("data", "sample", "backbone", "mode", *_PRIVATE_SETTINGS)
        if is_told or value is None or value == train_config.FIELDS[field.name][1]:
            continue
        if isinstance(value, bool):
            words.append(format_flag(field.name if value else f"no_{field.name}"))
        else:
            words += [format_flag(field.name), str(value)]
    return messages.escape_control_chars(shell.format_command(words))


def escape_markdown(text: str) -> str:
    """Return a name as text of Markdown: nothing in it is markup, and it stays on one line."""
    escaped = messages.escape_control_chars(text)
    return "".join(f"\\{char}" if char in r"\`*_{}[]<>()#+-.!|~&" else char for char in escaped)


def _format_counts(image_counts: dict[str, dict[str, int]]) -> str:
    """Return the rows of the table of images by class and split."""
    return "\n".join(
        f"| {escape_markdown(name)} | {counts.get('train', 0)} | {counts.get('val', 0)} | {counts.get('test', 0)} |"
        for name, counts in image_counts.items()
    )
