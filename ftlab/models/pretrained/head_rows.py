"""Rows of a checkpoint's classifier for the classes of a run, matched by name where the checkpoint names its classes.

A head is a matrix with one row for each class, in the order of its own program: by name as text in torchvision, Keras
and fastai, by number in ftlab and timm. Laid on by number, 12 classes named 1 … 12 would start with the rows of others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ftlab.models.pretrained import key_search, stored_classes
from ftlab.models.pretrained.stored_classes import ClassList

if TYPE_CHECKING:
    from torch import Tensor

_CERTAIN_SIDE_FILES = ("config.json", "model.json")
"""Files next to a checkpoint that belong to it; others count only if they name a class of the run."""


@dataclass(frozen=True)
class HeadFit:
    """How the classifier of a file fits the classes of a run.

    Attributes:
        file_class_count: classes of the file's classifier; 0 without one.
        class_list: names of these classes; None if the file does not say.
        known_classes: indices of the run's classes that have rows, ascending; empty if none or all by number.
        weight, bias: rows for `known_classes`, float [n, D] and [n]; or, if all classes are known, the tensors of the
            run's own classifier. None if the head cannot be used.
        is_complete: all classes of the run have rows.
        is_reordered: the rows are in another order than in the file.
    """

    file_class_count: int = 0
    class_list: ClassList | None = None
    known_classes: tuple[int, ...] = ()
    weight: Tensor | None = None
    bias: Tensor | None = None
    is_complete: bool = False
    is_reordered: bool = False

    @property
    def is_foreign(self) -> bool:
        """Return whether the file names its classes, and none is the run's."""
        return self.class_list is not None and not self.known_classes

    def list_new_classes(self, class_names: Sequence[str]) -> tuple[str, ...]:
        """Return the names of a run's classes that have no rows."""
        return tuple(name for index, name in enumerate(class_names) if index not in self.known_classes)

    @property
    def is_order_unknown(self) -> bool:
        """Return whether the rows were taken by number, because the file does not name its classes."""
        return self.is_complete and self.class_list is None


def fit_head(
    file_tensors: Mapping[str, Tensor],
    network_tensors: Mapping[str, Tensor],
    source_by_name: Mapping[str, str],
    class_lists: Sequence[ClassList],
    class_names: Sequence[str],
) -> HeadFit:
    """Select and order the rows of a file's classifier for the classes of a run.

    Args:
        file_tensors: by name.
        network_tensors: of the run's network, by name, on any device.
        source_by_name: name in the file by the network's name.
        class_lists: names that the file may give to its classes.
        class_names: of the run, in order; empty if they are not known.

    Returns:
        The fit.
    """
    path = key_search.get_classifier_path(network_tensors)
    weight_source = source_by_name.get(f"{path}.weight")
    if weight_source is None or not class_names:
        return HeadFit()
    weight, bias = file_tensors[weight_source].flatten(1), file_tensors.get(source_by_name.get(f"{path}.bias", ""))
    if len(weight) == 1:  # one logit z for two classes is the pair (-z/2, z/2)
        weight, bias = _to_pair(weight), None if bias is None else _to_pair(bias)
    class_list, matches = _choose_class_list(class_lists, len(weight), class_names)
    fit = HeadFit(len(weight), class_list)
    if class_list is None:
        if len(weight) != len(class_names):
            return fit
        matches = {index: index for index in range(len(weight))}
    known_classes = tuple(sorted(matches))
    rows = [matches[index] for index in known_classes]
    fit = replace(fit, known_classes=known_classes if class_list else (), is_reordered=rows != sorted(rows))
    if not rows or weight.shape[1] != network_tensors[f"{path}.weight"].shape[1]:
        return fit
    is_complete = len(rows) == len(class_names)
    has_one_logit = len(network_tensors[f"{path}.weight"]) == 1
    if has_one_logit and not is_complete:
        return replace(fit, known_classes=())
    row_weight, row_bias = weight[rows], None if bias is None else bias[rows]
    if has_one_logit:
        row_weight, row_bias = (
            row_weight[1:] - row_weight[:1],
            None if row_bias is None else row_bias[1:] - row_bias[:1],
        )
    return replace(fit, weight=row_weight, bias=row_bias, is_complete=is_complete)


def take_head_rows(
    head_fit: HeadFit,
    file_tensors: Mapping[str, Tensor],
    network_tensors: Mapping[str, Tensor],
    source_by_name: Mapping[str, str],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the rows of a head that knows some classes only, or the file's tensors with a head for all classes.

    Args:
        head_fit: of the file's classifier.
        file_tensors: by name.
        network_tensors: by name.
        source_by_name: name in the file by the network's name.

    Returns:
        Rows by the network's names, empty if all classes or none are known; and the file's tensors.
    """
    path = key_search.get_classifier_path(network_tensors)
    fitted = {f"{path}.weight": head_fit.weight, f"{path}.bias": head_fit.bias}
    fitted_tensors = {
        name: tensor.to(network_tensors[name].dtype)
        for name, tensor in fitted.items()
        if tensor is not None and name in network_tensors
    }
    if head_fit.is_complete:
        replaced = {source_by_name[name]: tensor for name, tensor in fitted_tensors.items()}
        return {}, {**file_tensors, **replaced}
    return fitted_tensors, dict(file_tensors)


def summarize_head(head_fit: HeadFit, new_classes: Sequence[str]) -> list[tuple[str, dict[str, object]]]:
    """Summarize what became of a head whose classes have names.

    Args:
        head_fit: of the file's classifier.
        new_classes: classes of the run that the file's head does not have, if it has some others.

    Returns:
        Pairs of message key (below `log.init_`) and its values.
    """
    class_list = head_fit.class_list
    if class_list is None:
        return []
    if head_fit.is_foreign:
        return [("names", {"names": format_names(class_list.names, 5)})]
    known_count = len(head_fit.known_classes)
    values: dict[str, object] = {"known": known_count, "key": class_list.key}
    if new_classes:
        class_count = known_count + len(new_classes)
        return [("rows", {**values, "classes": class_count, "names": format_names(new_classes, 5)})]
    return [("reordered", values)] if head_fit.is_reordered else []


def format_names(names: Sequence[str], most: int = 3) -> str:
    """Return the first names of a list for a message."""
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")


def _choose_class_list(
    class_lists: Sequence[ClassList], row_count: int, class_names: Sequence[str]
) -> tuple[ClassList | None, dict[int, int]]:
    """Choose the list that names the rows of a head: the one that most of the run's classes are in.

    Args:
        class_lists: candidates.
        row_count: rows of the head; lists of another length are not of it.
        class_names: of the run.

    Returns:
        The list, None without one; and the index of the row by index of the class.
    """
    best_list, best_matches = None, dict[int, int]()
    for class_list in class_lists:
        if len(class_list.names) != row_count:
            continue
        matches = stored_classes.match_class_names(class_list.names, class_names)
        # Bare numbers stand for names that nobody gave; a list that only lies near the file may be of another model.
        is_numbered = all(name == str(index) for index, name in enumerate(class_list.names))
        is_uncertain = class_list.is_side_file and class_list.key not in _CERTAIN_SIDE_FILES
        if not matches and (is_numbered or is_uncertain):
            continue
        if best_list is None or len(matches) > len(best_matches):
            best_list, best_matches = class_list, matches
    return best_list, best_matches


def _to_pair(rows: Tensor) -> Tensor:
    """Return the two rows of a classifier with one logit: [1, D] or [1] -> [2, D] or [2]."""
    import torch

    return torch.cat([-rows, rows]) / 2
