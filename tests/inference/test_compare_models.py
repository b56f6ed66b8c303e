"""One picture through two models: what is said of both answers, and which maps are shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ftlab.config.train_config import TrainConfig
from ftlab.data.transforms import preprocess
from ftlab.inference import compare_models, load_model
from ftlab.inference.compare_models import ModelAnswer
from ftlab.inference.decision_rule import DecisionRule
from ftlab.inference.predictor import ClassExplanation, ClassScore, Predictor
from ftlab.runs import run_store
from tests.support import known_evaluations

pytestmark = pytest.mark.usefixtures("one_thread")
CAUTIOUS = DecisionRule("0" * 64, 1.0, 0.9, 100, 90)


def seen(names: dict[str, float], decided: DecisionRule | None = None, shown: Any = None) -> ModelAnswer:
    """An answer of these probabilities."""
    ranked = sorted(names.items(), key=lambda one: -one[1])
    classes = tuple(names)
    scores = [ClassScore(classes.index(name), name, sure) for name, sure in ranked]
    model = SimpleNamespace(
        class_names=classes,
        display_names=shown or {},
        is_rejected=lambda scores: decided is not None and decided.rejects_probability(scores[0].probability),
    )
    return ModelAnswer(model, scores, ClassExplanation(scores[0].class_index, None, None, (0, 0, 1, 1)))  # type: ignore[arg-type]


def test_where_both_say_the_same_each_ones_probability_is_told() -> None:
    said = compare_models.describe_agreement(seen({"ant": 0.9, "bee": 0.1}), seen({"bee": 0.3, "ant": 0.7}))
    assert said == "Both say ant: the first with 90.0 %, the second with 70.0 %."


def test_where_they_disagree_both_answers_are_told() -> None:
    said = compare_models.describe_agreement(seen({"ant": 0.9, "bee": 0.1}), seen({"ant": 0.4, "bee": 0.6}))
    assert said == "They disagree: the first says ant (90.0 %), the second says bee (60.0 %)."


def test_they_are_called_as_the_page_calls_them() -> None:
    one, other = seen({"ant": 0.9, "bee": 0.1}), seen({"ant": 0.4, "cat": 0.6})
    said = compare_models.describe_agreement(one, other, ("run 2", "run 5"))
    assert said == "They disagree: run 2 says ant (90.0 %), run 5 says cat (60.0 %). “cat” is not a class of run 2."
    assert compare_models.list_class_choices(one.model, other.model, ("run 2", "run 5"))[1] == (
        "bee (only in run 2)",
        "bee",
    )


def test_a_class_that_the_other_does_not_know_is_told() -> None:
    said = compare_models.describe_agreement(seen({"ant": 0.2, "bee": 0.8}), seen({"ant": 0.4, "cat": 0.6}))
    assert said.endswith("“bee” is not a class of the second. “cat” is not a class of the first.")


def test_models_without_a_common_class_do_not_disagree() -> None:
    said = compare_models.describe_agreement(seen({"ant": 0.9, "bee": 0.1}), seen({"dog": 0.4, "cat": 0.6}))
    assert said == "They have no class in common: the first says ant (90.0 %), the second says cat (60.0 %)."


def test_an_answer_that_is_too_unsure_is_none() -> None:
    sure, unsure = seen({"ant": 0.9, "bee": 0.1}), seen({"ant": 0.6, "bee": 0.4}, CAUTIOUS)
    assert (sure.accepted_class, unsure.accepted_class) == ("ant", None)
    assert "the second says ant (60.0 %, unsure)" in compare_models.describe_agreement(sure, unsure)
    assert compare_models.describe_agreement(unsure, unsure).startswith("Both are unsure: the first says ant")


def test_people_read_the_names_that_each_run_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTLAB_LANGUAGE", "zh")
    one = seen({"ant": 0.9, "bee": 0.1}, shown={"ant": {"zh": "蚂蚁"}})
    assert "第一个模型认为是 蚂蚁" in compare_models.describe_agreement(one, seen({"ant": 0.4, "bee": 0.6}))


def test_classes_that_both_know_are_offered_first_and_the_others_say_whose_they_are() -> None:
    first, second = seen({"bee": 0.9, "ant": 0.1}).model, seen({"cat": 0.9, "ant": 0.1}).model
    assert [name for _, name in compare_models.list_class_choices(first, second)] == ["ant", "bee", "cat"]
    assert [line for line, _ in compare_models.list_class_choices(first, second)][1:] == [
        "bee (only in the first)",
        "cat (only in the second)",
    ]


def other_run(root: Path, classes: tuple[str, ...]) -> Predictor:
    """A run of other classes, another side and other colours than `judged.run` gives."""
    made = run_store.create_run(root, TrainConfig(data="elsewhere", backbone=known_evaluations.SPEC.name))
    prep = replace(preprocess.from_spec(known_evaluations.SPEC), side=96, resize=108, mean=(0.1, 0.2, 0.3))
    told = {"backbone": known_evaluations.SPEC.name, "classes": list(classes), "preprocessing": prep.to_json()}
    made.write_json("model.json", told)
    known_evaluations.keep(made, 7, len(classes))
    return load_model.load_predictor(made)


def test_each_model_gets_the_picture_as_it_was_trained_and_maps_the_class_that_is_asked_for(
    tmp_path: Path, tiny_folder: Path
) -> None:
    first = load_model.load_predictor(known_evaluations.run(tmp_path / "runs", tiny_folder))
    second = other_run(tmp_path / "runs", ("grey", "green"))
    file = tiny_folder / "green" / "green_0.png"
    one, other = (compare_models.explain_image(file, model, "green") for model in (first, second))
    assert (one.explained_class, other.explained_class) == ("green", "green")
    for mine, model in ((one, first), (other, second)):
        scores, found = model.predict_and_explain(file, model.class_names.index("green"))
        assert [score.probability for score in mine.scores][:2] == [score.probability for score in scores][:2]
        assert torch.equal(torch.from_numpy(mine.explanation.heatmap), torch.from_numpy(found.heatmap))
    assert {score.name for score in other.scores} == {"grey", "green"}
    blue = [compare_models.explain_image(file, model, "blue") for model in (first, second)]
    assert blue[0].explained_class == "blue"
    assert blue[1].explained_class == other.scores[0].name, "it does not know the class: its own likeliest"
