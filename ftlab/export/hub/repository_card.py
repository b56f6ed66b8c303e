"""The `README.md` of a repository: its metadata, and the figures that it shows."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from ftlab.core import messages
from ftlab.export.model_source import ModelSource
from ftlab.export.run_card import RunFacts
from ftlab.reporting import evaluation_plots, figure_files, fonts, plots
from ftlab.runs.history import History

CURVES_NAME = "curves.png"


def build_front_matter(source: ModelSource, facts: RunFacts) -> str:
    """Return the metadata at the head of a repository's card: YAML between two lines of hyphens.

    Args:
        source: the trained model.
        facts: of its run.

    Returns:
        YAML. The license is the pretrained weights', where these state one and the model was trained from them.
    """
    spec = source.predictor.spec
    results = [
        EvalResult(
            task_type="image-classification",
            task_name="Image Classification",
            dataset_type="imagefolder",
            dataset_name=facts.data_name,
            dataset_split="validation" if split == "val" else split,
            metric_type="accuracy",
            metric_name=messages.get_text(
                "export.metric_name", low=proportion.confidence_interval[0], high=proportion.confidence_interval[1]
            ),
            metric_value=round(proportion.fraction, 6),
        )
        for split, proportion in facts.proportions.items()
    ]
    data = ModelCardData(
        library_name="timm" if spec.source == "timm" else "ftlab",
        pipeline_tag="image-classification",
        tags=["image-classification", "ftlab", spec.source],
        license=facts.find_licence(spec) or None,
        base_model=spec.weights_hub if facts.derives_from_pretrained and spec.weights_hub else None,
        model_name=source.predictor.title if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def write_figures(folder: Path, facts: RunFacts, history: History, title: str) -> str:
    """Write curves and confusion matrices, and return the section of the card that shows them.

    Args:
        folder: of the repository.
        facts: of the run.
        history: of the run.
        title: of the curves.

    Returns:
        Markdown; empty without any figure.
    """
    figure_names = []
    if history.epochs:
        figure_files.save_figure(plots.plot_training_curves(history, title), folder / CURVES_NAME)
        figure_names.append((messages.get_text("export.figure_curves"), CURVES_NAME))
    for split, evaluation in facts.evaluations.items():
        name = f"confusion-{split}.png"
        figure_files.save_figure(
            evaluation_plots.plot_confusion_matrix(evaluation, fonts.make_class_formatter({})), folder / name
        )
        figure_names.append((messages.get_text("export.figure_confusion", split=split), name))
    lines = "\n\n".join(f"![{text}]({name})" for text, name in figure_names)
    return messages.get_text("export.card_figures", figures=lines) if figure_names else ""


def describe_use(source: ModelSource) -> str:
    """Return the section about loading the model, Markdown.

    Args:
        source: the trained model.

    Returns:
        Markdown with `USER/NAME` in place of the repository, which the files do not know.
    """
    return messages.get_text("export.card_use_timm" if source.predictor.spec.source == "timm" else "export.card_use")
