"""Search for a network's tensors among the names of a foreign checkpoint: prefixes, order, and the classifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_WRAPPER_NAMES = {"module", "_orig_mod", "_fsdp_wrapped_module", "_forward_module"}
"""Modules that wrap a network, or a part of it, for training; removed from every name."""
_PREFERRED_COPIES = ("model_ema", "state_dict_ema", "module_ema", "ema", "teacher")
"""Prefixes of averaged weights: of two copies that fit alike these are taken, as they score higher (Polyak and
Juditsky, 1992)."""
_CLASSIFIER_NAMES = (
    "fc",
    "head",
    "head.fc",
    "classifier",
    "classifier.1",
    "classifier.6",
    "linear",
    "last_linear",
    "_fc",
)
"""Usual paths of a classifier."""
# A rule that fits one of 12 tensors, spread over the network, is a candidate; the 40 most frequent are tried.
_PROBE_COUNT, _MAX_RULES_TRIED = 12, 40


def strip_wrappers(name: str) -> str:
    """Return a name without the wrappers used in training."""
    return ".".join(name_part for name_part in name.split(".") if name_part not in _WRAPPER_NAMES)


def get_source_name(name: str, rule: tuple[str, str]) -> str:
    """Return the name in the file of a tensor that the network calls `name`."""
    removed_prefix, added_prefix = rule
    # No file has a name with a NUL character.
    return removed_prefix + name.removeprefix(added_prefix) if name.startswith(added_prefix) else f"\0{name}"


def shapes_fit(tensor: Tensor, target: Tensor) -> bool:
    """Return whether a tensor fits a target: of the same shape, but a 1 × 1 convolution equals a linear layer."""
    squeezed_shapes = [[n for i, n in enumerate(t.shape) if i < 2 or n != 1] for t in (tensor, target)]
    return squeezed_shapes[0] == squeezed_shapes[1] and tensor.is_floating_point() == target.is_floating_point()


def find_prefix_rule(file_tensors: Mapping[str, Tensor], target_tensors: Mapping[str, Tensor]) -> tuple[str, str]:
    """Find the prefix to remove from the file's names, and the one to add, so that most tensors fit.

    Args:
        file_tensors: by name.
        target_tensors: of the backbone, by name.

    Returns:
        The removed and the added prefix.
    """
    rule_counts = _count_candidate_rules(file_tensors, target_tensors)
    best_rule, best_score = ("", ""), -1.0
    # The empty rule comes first and so wins a tie.
    for rule, _ in [(("", ""), 0), *rule_counts.most_common(_MAX_RULES_TRIED)]:
        score = _score_rule(rule, file_tensors, target_tensors)
        if score > best_score:
            best_rule, best_score = rule, score
    return best_rule


def _count_candidate_rules(
    file_tensors: Mapping[str, Tensor], target_tensors: Mapping[str, Tensor]
) -> Counter[tuple[str, str]]:
    """Count the prefix rules that make one of a few target tensors fit a tensor of the file.

    Args:
        file_tensors: by name.
        target_tensors: of the backbone, by name.

    Returns:
        Number of fits by (removed prefix, added prefix).
    """
    probes = [name for name in target_tensors if target_tensors[name].ndim > 0][
        :: max(1, len(target_tensors) // _PROBE_COUNT)
    ]
    rule_counts: Counter[tuple[str, str]] = Counter()
    for probe in probes:
        probe_parts = probe.split(".")
        for name in file_tensors:
            parts = name.split(".")
            # A rule is what remains of both names in front of their longest common suffix.
            suffix_length = 0
            while (
                suffix_length < min(len(parts), len(probe_parts))
                and parts[-1 - suffix_length] == probe_parts[-1 - suffix_length]
            ):
                suffix_length += 1
            if suffix_length and shapes_fit(file_tensors[name], target_tensors[probe]):
                removed_parts, added_parts = (
                    parts[: len(parts) - suffix_length],
                    probe_parts[: len(probe_parts) - suffix_length],
                )
                rule_counts[
                    "".join(f"{part}." for part in removed_parts), "".join(f"{part}." for part in added_parts)
                ] += 1
    return rule_counts


def _score_rule(
    rule: tuple[str, str], file_tensors: Mapping[str, Tensor], target_tensors: Mapping[str, Tensor]
) -> float:
    """Score a prefix rule by the number of target tensors that fit.

    Args:
        rule: the removed and the added prefix.
        file_tensors: by name.
        target_tensors: of the backbone, by name.

    Returns:
        The score, higher for a better rule.
    """
    fit_count = sum(
        source in file_tensors and shapes_fit(file_tensors[source], tensor)
        for source, tensor in ((get_source_name(name, rule), tensor) for name, tensor in target_tensors.items())
    )
    is_preferred = any(part in rule[0].split(".") for part in _PREFERRED_COPIES)
    # Fit decides; an averaged copy breaks a tie, and then the shorter prefix to add.
    return fit_count + 0.5 * is_preferred - 0.001 * len(rule[1])


def match_by_order(file_tensors: Mapping[str, Tensor], target_tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Match tensors by order, for two libraries may name one architecture in ways that have nothing in common.

    Args:
        file_tensors: by name.
        target_tensors: of the backbone, by name.

    Returns:
        Name in the file by target name; empty unless the shapes agree one by one from the file's first tensor on.
    """
    target_names = [name for name, tensor in target_tensors.items() if tensor.ndim]  # without BatchNorm's counters
    file_names = [name for name, tensor in file_tensors.items() if tensor.ndim]
    pairs = list(zip(target_names, file_names, strict=False))
    shapes_match = len(file_names) >= len(target_names) and all(
        file_tensors[file_name].shape == target_tensors[target_name].shape for target_name, file_name in pairs
    )
    return dict(pairs) if shapes_match else {}


def match_head(
    file_tensors: Mapping[str, Tensor],
    network_tensors: Mapping[str, Tensor],
    head_path: str,
    rule: tuple[str, str],
    used_sources: set[str],
) -> dict[str, str]:
    """Find the file's classifier: by the library's name with the backbone's prefix, else by the usual names.

    Args:
        file_tensors: by name.
        network_tensors: by name.
        head_path: of the classifier in the library's module.
        rule: the backbone's prefix rule.
        used_sources: tensors of the file that are mapped already.

    Returns:
        Name in the file by the network's name. A head of several layers only matches another network of ours, by the
        very same names.
    """
    head_names = {name: name for name in network_tensors if name.startswith("head.") and name in file_tensors}
    classifier_path = get_classifier_path(network_tensors)
    if head_names or "head.hidden.weight" in network_tensors or f"{classifier_path}.weight" not in network_tensors:
        return head_names
    in_features = network_tensors[f"{classifier_path}.weight"].shape[1]
    # The most specific candidates come first: the library's own name, then usual names with longer prefixes.
    candidate_paths = [get_source_name(head_path, rule), *(f"{rule[0]}{name}" for name in _CLASSIFIER_NAMES)]
    prefixes = {rule[0], ""}
    with suppress(ValueError):
        prefixes.add(rule[0][: rule[0].rindex(".", 0, -1) + 1])  # a sibling of the backbone
    candidate_paths += [
        f"{prefix}{name}" for prefix in sorted(prefixes, key=len, reverse=True) for name in _CLASSIFIER_NAMES
    ]
    for candidate_path in candidate_paths:
        weight = file_tensors.get(f"{candidate_path}.weight")
        if (
            weight is not None
            and f"{candidate_path}.weight" not in used_sources
            # A linear layer or a 1 × 1 convolution.
            and weight.ndim in (2, 4)
            and weight.shape[1] == in_features
        ):
            kinds = ("weight", "bias")
            return {
                f"{classifier_path}.{kind}": f"{candidate_path}.{kind}"
                for kind in kinds
                if f"{candidate_path}.{kind}" in file_tensors
            }
    return {}


def get_classifier_path(tensor_names: Collection[str]) -> str:
    """Return the path of the last linear layer of one of our heads, given the names of a network's tensors."""
    return "head.classifier" if "head.classifier.weight" in tensor_names else "head"
