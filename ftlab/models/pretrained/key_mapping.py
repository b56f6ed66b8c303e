"""The tensors of a foreign file laid onto a network of ours: names found, parts chosen, and what does not fit told.

What is in such a file goes by many names: in containers (`model`, `state_dict`, `teacher` …), behind what wrapped the
network (`module.`, `encoder_q.`, `_orig_mod.` …). All of that stands before a tensor's own name, so one search finds
it: of every beginning that could be taken away or put in front, the one that makes the most tensors fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftlab.models.pretrained.checkpoint_import import ForeignCheckpoint

if TYPE_CHECKING:
    from torch import Tensor

_WRAPPER_NAMES = {"module", "_orig_mod", "_fsdp_wrapped_module", "_forward_module"}
"""What wraps a network, or a part of it, to train it: no part of any name."""
_PREFERRED_COPIES = ("model_ema", "state_dict_ema", "module_ema", "ema", "teacher")
"""Of two copies that fit alike, the averaged one: it scores higher (Polyak and Juditsky, 1992)."""
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
"""Names that classifiers go by."""
_PROBE_COUNT, _MAX_RULES_TRIED = 12, 40


@dataclass(frozen=True)
class KeyMapping:
    """Which tensor of a file goes where, and what does not.

    Attributes:
        tensors: by the network's own names, in its shapes.
        target_keys: names of the requested part, without counters of batches.
        missing_keys: of these, the ones that the file does not have.
        mismatched_keys: of these, the ones that are of another shape in the file: (name, shape there, shape here).
        unexpected_keys: tensors of the file, from where the others were found, that the network has no place for.
        prefix_rule: beginning of the names that was taken away, and the one put in its place.
        skipped_head_classes: classes of the classifier in the file where it was left out because of their number; else 0.
        is_matched_by_order: the names differ throughout, and the tensors were matched by their order and shapes.
    """

    tensors: dict[str, Tensor]
    target_keys: tuple[str, ...]
    missing_keys: tuple[str, ...]
    mismatched_keys: tuple[tuple[str, str, str], ...]
    unexpected_keys: tuple[str, ...]
    prefix_rule: tuple[str, str] = ("", "")
    skipped_head_classes: int = 0
    is_matched_by_order: bool = False

    @property
    def matched_count(self) -> int:
        """How many of the wanted tensors the file gives."""
        return sum(name in self.tensors for name in self.target_keys)

    @property
    def is_sufficient(self) -> bool:
        """Whether half of them, or more, are there."""
        return bool(self.target_keys) and 2 * self.matched_count >= len(self.target_keys)

    def summarize_match(self, part: str) -> list[tuple[str, dict[str, object]]]:
        """What matched and what did not, the most important first: keys below `log.init` of the words, and values."""
        entries: list[tuple[str, dict[str, object]]] = [
            (part, {"matched": self.matched_count, "wanted": len(self.target_keys)})
        ]
        if self.is_matched_by_order:
            entries.append(("ordered", {}))
        elif any(self.prefix_rule):
            key = "prefix" if not self.prefix_rule[1] else "added" if not self.prefix_rule[0] else "replaced"
            entries.append((key, {"old": self.prefix_rule[0], "new": self.prefix_rule[1]}))
        if self.skipped_head_classes:
            entries.append(("head_out", {"classes": self.skipped_head_classes}))
        shapes = tuple(
            f"{name} ({file_shape} → {network_shape})" for name, file_shape, network_shape in self.mismatched_keys
        )
        for key, names in (
            ("mismatched", shapes),
            ("missing", self.missing_keys),
            ("unexpected", self.unexpected_keys),
        ):
            if names:
                name_list = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
                entries.append((key, {"count": len(names), "names": name_list}))
        return entries


def map_checkpoint_keys(
    checkpoint: ForeignCheckpoint,
    network_tensors: Mapping[str, Tensor],
    head_path: str,
    part: str = "all",
    renames: list[tuple[str, str]] | None = None,
) -> KeyMapping:
    """Lay the tensors of a file onto a network.

    Args:
        checkpoint: the file's.
        network_tensors: the network's own, `Network.state_dict()`.
        head_path: where the classifier sits in the source's module (`Backbone.head`).
        part: `all`, `backbone` or `head_path`.
        renames: beginnings of names in the file, and what takes their place; done before the search.
    """
    file_tensors: dict[str, Tensor] = {}
    original_names: dict[str, str] = {}
    for name, tensor in checkpoint.tensors.items():
        container = checkpoint.containers.get(name, "")
        new_name = name.removeprefix(container)
        for old, new in renames or []:
            if new_name.startswith(old):
                new_name = new + new_name.removeprefix(old)
            elif (container + new_name).startswith(old):
                new_name, container = new + (container + new_name).removeprefix(old), ""
        new_name = _strip_wrappers(container + new_name)
        if new_name not in file_tensors:
            file_tensors[new_name], original_names[new_name] = tensor, name
    backbone_names = {name.removeprefix("backbone."): name for name in network_tensors if name.startswith("backbone.")}
    prefix_rule = _find_prefix_rule(
        file_tensors, {name: network_tensors[full_name] for name, full_name in backbone_names.items()}
    )
    source_by_name: dict[str, str] = {}
    is_matched_by_order = False
    for name, full_name in backbone_names.items():
        source = _get_source_name(name, prefix_rule)
        if source in file_tensors:
            source_by_name[full_name] = source
    fit_count = sum(
        _shapes_fit(file_tensors[source], network_tensors[full_name]) for full_name, source in source_by_name.items()
    )
    if 2 * fit_count < len(backbone_names):
        ordered_sources = _match_by_order(
            file_tensors, {full_name: network_tensors[full_name] for full_name in backbone_names.values()}
        )
        if ordered_sources:
            source_by_name, prefix_rule, is_matched_by_order = ordered_sources, ("", ""), True
    source_by_name |= _match_head(file_tensors, network_tensors, head_path, prefix_rule, set(source_by_name.values()))
    target_keys = tuple(
        name for name in network_tensors if _is_in_part(name, part) and not name.endswith("num_batches_tracked")
    )
    used_sources = set(source_by_name.values())
    file_classes = _count_file_classes(file_tensors, network_tensors, source_by_name)
    if file_classes and part == "all":
        source_by_name = {name: source for name, source in source_by_name.items() if not name.startswith("head.")}
        target_keys = tuple(name for name in target_keys if not name.startswith("head."))
    fitting_sources = {
        name: source
        for name, source in source_by_name.items()
        if _is_in_part(name, part) and _shapes_fit(file_tensors[source], network_tensors[name])
    }
    mismatched_names = [name for name in source_by_name if _is_in_part(name, part) and name not in fitting_sources]
    containers = {checkpoint.containers.get(original_names[source], "") for source in fitting_sources.values()}
    return KeyMapping(
        tensors={
            name: file_tensors[source].reshape(network_tensors[name].shape).to(network_tensors[name].dtype)
            for name, source in fitting_sources.items()
        },
        target_keys=target_keys,
        missing_keys=tuple(name for name in target_keys if name not in source_by_name),
        mismatched_keys=tuple(
            (name, _format_shape(file_tensors[source_by_name[name]]), _format_shape(network_tensors[name]))
            for name in mismatched_names
        ),
        unexpected_keys=tuple(
            original_names[file_name]
            for file_name in file_tensors
            if file_name not in used_sources and checkpoint.containers.get(original_names[file_name], "") in containers
        ),
        prefix_rule=prefix_rule,
        skipped_head_classes=file_classes if part != "backbone" else 0,
        is_matched_by_order=is_matched_by_order,
    )


def _is_in_part(name: str, part: str) -> bool:
    """Whether a tensor belongs to a part. Auxiliary classifiers belong to none: they are new each time."""
    return name.startswith(("backbone.", "head.") if part == "all" else f"{part}.")


def _strip_wrappers(name: str) -> str:
    """A name without what wrapped the network in training."""
    return ".".join(name_part for name_part in name.split(".") if name_part not in _WRAPPER_NAMES)


def _get_source_name(name: str, rule: tuple[str, str]) -> str:
    """Name in the file of a tensor that the network calls `name`."""
    removed_prefix, added_prefix = rule
    return removed_prefix + name.removeprefix(added_prefix) if name.startswith(added_prefix) else f"\0{name}"


def _shapes_fit(tensor: Tensor, target: Tensor) -> bool:
    """Whether the numbers go into the place: a 1 × 1 convolution is a linear layer, nothing else may differ."""
    squeezed_shapes = [[n for i, n in enumerate(t.shape) if i < 2 or n != 1] for t in (tensor, target)]
    return squeezed_shapes[0] == squeezed_shapes[1] and tensor.is_floating_point() == target.is_floating_point()


def _find_prefix_rule(file_tensors: Mapping[str, Tensor], target_tensors: Mapping[str, Tensor]) -> tuple[str, str]:
    """The beginning to take from the file's names, and the one to put in its place, so that most tensors fit."""
    probes = [name for name in target_tensors if target_tensors[name].ndim > 0][
        :: max(1, len(target_tensors) // _PROBE_COUNT)
    ]
    rule_counts: Counter[tuple[str, str]] = Counter()
    for probe in probes:
        probe_parts = probe.split(".")
        for name in file_tensors:
            parts = name.split(".")
            suffix_length = 0
            while (
                suffix_length < min(len(parts), len(probe_parts))
                and parts[-1 - suffix_length] == probe_parts[-1 - suffix_length]
            ):
                suffix_length += 1
            if suffix_length and _shapes_fit(file_tensors[name], target_tensors[probe]):
                removed_parts, added_parts = (
                    parts[: len(parts) - suffix_length],
                    probe_parts[: len(probe_parts) - suffix_length],
                )
                rule_counts[
                    "".join(f"{part}." for part in removed_parts), "".join(f"{part}." for part in added_parts)
                ] += 1
    best_rule, best_score = ("", ""), -1.0
    for rule, _ in [(("", ""), 0), *rule_counts.most_common(_MAX_RULES_TRIED)]:
        fit_count = sum(
            source in file_tensors and _shapes_fit(file_tensors[source], tensor)
            for source, tensor in ((_get_source_name(name, rule), tensor) for name, tensor in target_tensors.items())
        )
        is_preferred = any(part in rule[0].split(".") for part in _PREFERRED_COPIES)
        score = fit_count + 0.5 * is_preferred - 0.001 * len(rule[1])
        if score > best_score:
            best_rule, best_score = rule, score
    return best_rule


def _match_by_order(file_tensors: Mapping[str, Tensor], target_tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The file's tensors one by one beside the network's, if as many of the same shapes follow each other from the
    file's first one on; else nothing. Two libraries may give one architecture names that have nothing in common."""
    target_names = [name for name, tensor in target_tensors.items() if tensor.ndim]  # not the counters of batches
    file_names = [name for name, tensor in file_tensors.items() if tensor.ndim]
    pairs = list(zip(target_names, file_names, strict=False))
    shapes_match = len(file_names) >= len(target_names) and all(
        file_tensors[file_name].shape == target_tensors[target_name].shape for target_name, file_name in pairs
    )
    return dict(pairs) if shapes_match else {}


def _match_head(
    file_tensors: Mapping[str, Tensor],
    network_tensors: Mapping[str, Tensor],
    head_path: str,
    rule: tuple[str, str],
    used_sources: set[str],
) -> dict[str, str]:
    """The classifier: by the source's name behind the same beginning, else by a name that classifiers go by. One of
    several layers only another network of ours has, by the very same names."""
    head_names = {name: name for name in network_tensors if name.startswith("head.") and name in file_tensors}
    classifier_path = get_classifier_path(network_tensors)
    if head_names or "head.hidden.weight" in network_tensors or f"{classifier_path}.weight" not in network_tensors:
        return head_names
    in_features = network_tensors[f"{classifier_path}.weight"].shape[1]
    candidate_paths = [_get_source_name(head_path, rule), *(f"{rule[0]}{name}" for name in _CLASSIFIER_NAMES)]
    prefixes = {rule[0], ""}
    with suppress(ValueError):
        prefixes.add(rule[0][: rule[0].rindex(".", 0, -1) + 1])  # beside what was taken for the backbone
    candidate_paths += [
        f"{prefix}{name}" for prefix in sorted(prefixes, key=len, reverse=True) for name in _CLASSIFIER_NAMES
    ]
    for candidate_path in candidate_paths:
        weight = file_tensors.get(f"{candidate_path}.weight")
        if (
            weight is not None
            and f"{candidate_path}.weight" not in used_sources
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
    """Where the last layer of a head of ours sits, by the names of a network's tensors."""
    return "head.classifier" if "head.classifier.weight" in tensor_names else "head"


def _count_file_classes(
    file_tensors: Mapping[str, Tensor], network_tensors: Mapping[str, Tensor], source_by_name: Mapping[str, str]
) -> int:
    """Classes of the file's classifier, where they are not as many as here; else 0."""
    weight_name = f"{get_classifier_path(network_tensors)}.weight"
    source_name = source_by_name.get(weight_name)
    if source_name is None or file_tensors[source_name].shape[0] == network_tensors[weight_name].shape[0]:
        return 0
    return int(file_tensors[source_name].shape[0])


def _format_shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "1"
