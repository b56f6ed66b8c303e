"""`explain --against`: one image explained by two models."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.cli.common.named_models import find_named_run
from ftlab.core.errors import ConfigError
from ftlab.inference.cam_options import CamOptions

if TYPE_CHECKING:
    from ftlab.inference.compare_models import ModelAnswer
    from ftlab.inference.predictor import ClassExplanation, Predictor

TOP_CLASS_COUNT = 5
"""Number of classes with a bar in the figure."""


@dataclass(frozen=True)
class PairExplanation:
    """The answers of two models for one image."""

    first: ModelAnswer
    second: ModelAnswer

    @property
    def explanation(self) -> ClassExplanation:
        """Return the explanation by the first model."""
        return self.first.explanation

    def draw_figure(self, opacity: float) -> Any:
        """Return a matplotlib figure: the image, and for each model its overlay and bars."""
        from ftlab.inference import heatmap
        from ftlab.reporting import plots

        sides = []
        for answer in (self.first, self.second):
            title, explanation = (
                f"{answer.model.title}\n{answer.format_class_name(answer.explained_class)}",
                answer.explanation,
            )
            overlay = heatmap.blend_overlay(explanation.image, explanation.heatmap, explanation.visible_box, opacity)
            sides.append(
                (
                    title,
                    overlay,
                    [
                        (answer.format_class_name(score.name), score.probability)
                        for score in answer.scores[:TOP_CLASS_COUNT]
                    ],
                )
            )
        return plots.plot_model_comparison(self.explanation.image, sides, "\n".join(self.format_notes()))

    def format_notes(self) -> list[str]:
        """Return a sentence that says whether the models agree."""
        from ftlab.inference import compare_models

        return [compare_models.describe_agreement(self.first, self.second)]

    def to_json(self) -> dict[str, Any]:
        """Return the fields for `--json`: the most probable classes of each model, and what its map shows."""
        return {
            "agree": self.first.accepted_class == self.second.accepted_class,
            "models": [
                {
                    "model": answer.model.title,
                    "class": answer.explained_class,
                    "evidence": answer.explanation.has_evidence,
                    "layer": answer.explanation.cam_options.layer_path,
                    "none_of_these": answer.accepted_class is None,
                    "top": [
                        {"class": score.name, "probability": score.probability}
                        for score in answer.scores[:TOP_CLASS_COUNT]
                    ],
                }
                for answer in (self.first, self.second)
            ],
        }


def load_second_model(options: Namespace) -> Predictor:
    """Load the model that `--against` names.

    Returns:
        The model.

    Raises:
        ConfigError: `--before` or `--score` is given, which are about one model.
    """
    from ftlab.inference.load_model import load_predictor

    if options.before or options.score:
        raise ConfigError("config.against")
    return load_predictor(find_named_run(options, options.against))


def explain_with_both(
    options: Namespace, first_model: Predictor, second_model: Predictor, file: Path
) -> PairExplanation:
    """Explain one image by two models.

    Args:
        options: of the command; `--class` names the class, else each model explains its most probable one.
        first_model: to explain.
        second_model: to explain.
        file: of the image.

    Returns:
        Both answers.
    """
    from ftlab.inference import compare_models

    cam_options = CamOptions(options.method, options.layer)
    return PairExplanation(
        *(
            compare_models.explain_image(file, model, options.of or "", cam_options)
            for model in (first_model, second_model)
        )
    )
