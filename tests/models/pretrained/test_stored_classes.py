"""A checkpoint's own names of its classes are found in every form that programs write."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ftlab.models.pretrained import checkpoint_import, stored_classes

NAMES = ("1", "10", "2", "cat")
WEIGHTS = {"fc.weight": torch.zeros(4, 3)}


class CategoryMap:
    """As fastai's."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.items = list(names)


FORMS: dict[str, Any] = {
    "classes": list(NAMES),
    "class_names": NAMES,
    "CLASSES": np.array(NAMES),
    "class_to_idx": {name: index for index, name in enumerate(NAMES)},
    "label2id": {name: np.int64(index) for index, name in enumerate(NAMES)},
    "idx_to_class": dict(enumerate(NAMES)),
    "names": dict(enumerate(NAMES)),
    "id2label": {str(index): name for index, name in enumerate(NAMES)},
    "vocab": CategoryMap(NAMES),
    "model_names": list(NAMES),
}


def found(file: Path) -> list[tuple[str, ...]]:
    return [class_list.names for class_list in checkpoint_import.read_checkpoint(file).class_lists]


@pytest.mark.parametrize("place", ["at the top", "in a record", "in the settings"])
@pytest.mark.parametrize("key", [*FORMS])
def test_names_are_found_in_every_form_and_place(key: str, place: str) -> None:
    entry = {key: FORMS[key]}
    where = {"at the top": entry, "in a record": {"meta": entry}, "in the settings": {"a": argparse.Namespace(**entry)}}
    torch.save({"model": WEIGHTS, **where[place]}, "c.pth")
    assert found(Path("c.pth")) == [NAMES]


def test_classes_that_are_numbers_are_not_taken_for_indices() -> None:
    torch.save({"m": WEIGHTS, "class_to_idx": {"0": 2, "1": 1, "2": 0}, "idx_to_class": {0: 1, 1: 0}}, "c.pth")
    assert found(Path("c.pth")) == [("2", "1", "0"), ("1", "0")]


@pytest.mark.parametrize(
    "value", [[0.5, 0.2], ["a"], ["a", "a"], {"a": 0, "b": 2}, {"a": 1.5}, {0: "LABEL_0", 1: "LABEL_1"}, 7, "a", None]
)
def test_what_names_no_classes_is_passed_over(value: Any) -> None:
    torch.save({"m": WEIGHTS, "classes": value, "weights_names": ["a", "b"]}, "c.pth")
    assert found(Path("c.pth")) == []


def test_names_are_found_in_the_metadata_of_safetensors_and_in_files_next_to_it() -> None:
    by_index = {str(index): name for index, name in enumerate(NAMES)}
    save_file(WEIGHTS, "m.safetensors", {"id2label": json.dumps(by_index), "labels": "a,b", "format": "pt"})
    Path("config.json").write_text(json.dumps({"id2label": {"0": "x", "1": "y"}, "num_labels": 2}))
    Path("labels.txt").write_text("0 ant\n1 bee\n")
    Path("class_indices.json").write_text('{"0": "daisy", "1": "rose"}')
    assert sorted(found(Path("m.safetensors"))) == sorted(
        [NAMES, ("a", "b"), ("x", "y"), ("ant", "bee"), ("daisy", "rose")]
    )


def test_names_match_exactly_before_they_match_without_case_and_unicode_form() -> None:
    def matches(stored: list[str], here: list[str]) -> dict[int, int]:
        return stored_classes.match_class_names(stored, here)

    assert matches(["ant", "Ant"], ["Ant", "ant"]) == {0: 1, 1: 0}
    assert matches(["Golden_Retriever", "cafe\u0301"], ["caf\u00e9", "golden retriever"]) == {0: 1, 1: 0}
    assert matches(["a b", "a_b"], ["A-B"]) == {}, "a name that fits two is neither"
    assert matches(["x"], ["y"]) == {}
