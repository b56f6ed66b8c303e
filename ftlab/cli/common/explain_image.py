"""`explain`: one image explained by one model."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.cli.terminal.output import open_progress_bar
from ftlab.inference.cam_options import CamOptions

if TYPE_CHECKING:
    from ftlab.inference.before_finetuning import PretrainedBaseline
    from ftlab.inference.faithfulness import Faithfulness
    from ftlab.inference.heatmap import Uint8Image
    from ftlab.inference.predictor import ClassExplanation, ClassScore, Predictor
    from ftlab.runs.directory import Run


@dataclass(frozen=True)
class ImageExplanation:
    """Everything requested about one image.

    Attributes:
        scores: most probable classes.
        explanation: heat map of a class.
        baseline: the network before fine-tuning, with `--before`.
        baseline_explanation: its heat map, if it has one.
        baseline_probability: its probability of the class that it explains, in [0, 1].
        faithfulness: score of the map with `--score`; None if the map has no evidence to score.
        is_scored: whether `--score` is given.
    """

    scores: list[ClassScore]
    explanation: ClassExplanation
    baseline: PretrainedBaseline | None
    baseline_explanation: ClassExplanation | None
    baseline_probability: float
    faithfulness: Faithfulness | None
    is_scored: bool

    def draw_figure(self, opacity: float) -> Any:
        """Return a matplotlib figure; `opacity` in [0, 1] is that of the heat map on the image."""
        from ftlab.reporting import plots

        bars = [(score.name, score.probability) for score in self.scores]
        baseline_overlay = render_overlay(self.baseline_explanation, opacity) if self.baseline_explanation else None
        image, overlay = self.explanation.image, render_overlay(self.explanation, opacity)
        return plots.plot_explanation(
            image, overlay, self.explanation.heatmap, bars, baseline_overlay, "\n".join(self.format_notes())
        )

    def format_notes(self) -> list[str]:
        """Return sentences about what was requested in addition to the map."""
        from ftlab.inference import before_finetuning, faithfulness

        sentences = (
            []
            if self.baseline is None
            else [before_finetuning.describe_baseline(self.baseline, self.baseline_probability)]
        )
        return [
            *sentences,
            *([" ".join(faithfulness.describe_faithfulness(self.faithfulness))] if self.is_scored else []),
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the fields of this explanation for `--json`."""
        explanation = self.explanation
        values: dict[str, Any] = {
            "evidence": explanation.has_evidence,
            "method": explanation.cam_options.method,
            "layer": explanation.cam_options.layer_path,
        }
        if self.baseline is not None:
            values["before"] = {"kind": self.baseline.kind}
            if self.baseline_explanation is not None:
                values["before"] |= {"class": self.baseline.class_name, "probability": self.baseline_probability}
        if self.is_scored:
            values["score"] = self.faithfulness.to_json() if self.faithfulness else None
        return values


def explain_image(options: Namespace, run: Run | None, model: Predictor, file: Path) -> ImageExplanation:
    """Return the explanation of one image by one model.

    Args:
        options: of the command.
        run: of the model; None for the pretrained network.
        model: to explain.
        file: of the image.
    """
    from ftlab.inference import before_finetuning

    cam_options = CamOptions(options.method, options.layer)
    class_index = None if options.of is None else model.class_names.index(options.of)
    scores, explanation = model.predict_and_explain(file, class_index, cam_options=cam_options)
    baseline = before_finetuning.pretrained_baseline(run, model, explanation.class_index) if options.before else None
    baseline_explanation, baseline_probability = baseline.explain(file, cam_options) if baseline else (None, 0.0)
    faithfulness = None
    if options.score:
        with open_progress_bar("cli.scoring") as progress:
            faithfulness = model.score_faithfulness(file, explanation.class_index, cam_options, progress)
    return ImageExplanation(
        scores, explanation, baseline, baseline_explanation, baseline_probability, faithfulness, options.score
    )


def render_overlay(explanation: ClassExplanation, opacity: float) -> Uint8Image:
    """Return the heat map blended over its image, uint8 [H, W, 3] RGB, for a figure; `opacity` in [0, 1]."""
    from ftlab.inference import heatmap

    return heatmap.blend_overlay(explanation.image, explanation.heatmap, explanation.visible_box, opacity)
