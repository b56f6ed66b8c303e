"""Comparison of two models on one image: their answers, their maps, and whether they agree.

The two need not know the same classes: classes are compared by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ftlab.core import messages
from ftlab.data.dataset import class_names
from ftlab.inference.cam_options import CamOptions
from ftlab.inference.predictor import ClassExplanation, ClassScore, Predictor


@dataclass(frozen=True)
class ModelAnswer:
    """Prediction and explanation of one model for an image.

    Attributes:
        model: that predicted.
        scores: of all its classes, the most probable first.
        explanation: the map of one class.
    """

    model: Predictor
    scores: list[ClassScore]
    explanation: ClassExplanation

    @property
    def explained_class(self) -> str:
        """Name of the class whose map is shown."""
        return self.model.class_names[self.explanation.class_index]

    @property
    def accepted_class(self) -> str | None:
        """Name of the most probable class; None if the model rejects it as too improbable."""
        return None if self.model.is_rejected(self.scores) else self.scores[0].name

    def format_class_name(self, class_name: str) -> str:
        """Return a class's name for people."""
        return _format_class_name(self.model, class_name)


def explain_image(
    image_path: Path | str,
    model: Predictor,
    class_name: str = "",
    cam_options: CamOptions = CamOptions(),
) -> ModelAnswer:
    """Predict an image with one model, and explain one class.

    An unreadable file gives ImageError; a layer that does not exist, or has no spatial grid, ConfigError.

    Args:
        image_path: of the image.
        model: to be asked.
        class_name: class to explain; if empty or unknown to the model, its most probable class is explained.
        cam_options: method and layer.

    Returns:
        The model's answer.
    """
    class_index = model.class_names.index(class_name) if class_name in model.class_names else None
    return ModelAnswer(
        model, *model.predict_and_explain(image_path, class_index, k=len(model.class_names), cam_options=cam_options)
    )


def describe_agreement(answer_a: ModelAnswer, answer_b: ModelAnswer, model_names: tuple[str, str] | None = None) -> str:
    """Write one line that says whether two models agree, and what each predicts.

    Args:
        answer_a: of the first model.
        answer_b: of the second model.
        model_names: what the two are called; None gives "the first" and "the second".

    Returns:
        The line, in the person's language.
    """
    name_a, name_b = model_names or default_model_names()
    message_values = {
        "first": name_a,
        "second": name_b,
        "one": _format_answer(answer_a),
        "other": _format_answer(answer_b),
    }
    if answer_a.accepted_class is None and answer_b.accepted_class is None:
        return messages.get_text("pair.neither", **message_values)
    if answer_a.accepted_class == answer_b.accepted_class:
        percentages = {
            label: messages.format_percent(answer.scores[0].probability)
            for label, answer in (("one", answer_a), ("other", answer_b))
        }
        return messages.get_text(
            "pair.agree", name=answer_a.format_class_name(answer_a.scores[0].name), **{**message_values, **percentages}
        )
    if not set(answer_a.model.class_names) & set(answer_b.model.class_names):
        return messages.get_text("pair.foreign", **message_values)
    # A model cannot agree on a class it was never trained on: the line says so.
    unknown_notes = [
        messages.get_text("pair.unknown", name=own_answer.format_class_name(own_answer.accepted_class), which=label)
        for own_answer, peer_answer, label in ((answer_a, answer_b, name_b), (answer_b, answer_a, name_a))
        if own_answer.accepted_class is not None and own_answer.accepted_class not in peer_answer.model.class_names
    ]
    return " ".join([messages.get_text("pair.differ", **message_values), *unknown_notes])


def list_class_choices(
    model_a: Predictor, model_b: Predictor, model_names: tuple[str, str] | None = None
) -> list[tuple[str, str]]:
    """List the classes whose map can be asked for, those that both models know first.

    Args:
        model_a: the first model.
        model_b: the second model.
        model_names: what the two are called; None gives "the first" and "the second".

    Returns:
        Pairs of label for people and class name.
    """
    shared_names = set(model_a.class_names) & set(model_b.class_names)
    class_choices = [(_format_class_name(model_a, name), name) for name in model_a.class_names if name in shared_names]
    for model_name, model in zip(model_names or default_model_names(), (model_a, model_b), strict=True):
        own_names = (name for name in model.class_names if name not in shared_names)
        class_choices += [
            (messages.get_text("pair.only", name=_format_class_name(model, name), which=model_name), name)
            for name in own_names
        ]
    return class_choices


def default_model_names() -> tuple[str, str]:
    """Return the names of two models for which the caller has none."""
    return messages.get_text("pair.one"), messages.get_text("pair.other")


def _format_answer(answer: ModelAnswer) -> str:
    top_score = answer.scores[0]
    key = "pair.unsure" if answer.accepted_class is None else "pair.answer"
    return messages.get_text(
        key, name=answer.format_class_name(top_score.name), percent=messages.format_percent(top_score.probability)
    )


def _format_class_name(model: Predictor, class_name: str) -> str:
    # Names come from folders and files of strangers and go to a terminal.
    return messages.escape_control_chars(class_names.get_display_name(class_name, model.display_names))
