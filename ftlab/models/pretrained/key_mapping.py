"""Mapping of a foreign checkpoint's tensors to a network: names are found, parts selected, and mismatches reported.

Tensors have many names: in containers (`model`, `state_dict`, `teacher` …), behind wrappers (`module.`, `encoder_q.`,
`_orig_mod.` …). All of these are prefixes, so one search finds them: of every prefix that could be removed or added,
the one that makes the most tensors fit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ftlab.models.pretrained import head_rows, key_search, tensor_search
from ftlab.models.pretrained.checkpoint_import import ForeignCheckpoint
from ftlab.models.pretrained.head_rows import HeadFit

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class KeyMapping:
    """Which tensor of a file goes where, and what does not fit.

    Attributes:
        tensors: by the network's own names, in its shapes and dtypes.
        target_keys: names of the requested part, without BatchNorm's counters of batches.
        missing_keys: of these, the ones that the file does not have.
        mismatched_keys: of these, the ones of another shape: (name, shape in the file, shape in the network).
        unexpected_keys: tensors of the file, from the same container as the others, that the network has no place for.
        prefix_rule: the prefix removed from the file's names, and the one added.
        skipped_head_classes: number of classes of the file's classifier, if it was left out because of them; else 0.
        is_matched_by_order: no names match, and the tensors were matched by their order and shapes.
        head_fit: how the file's classifier fits the run's classes, where these are known.
        row_tensors: by the network's names, rows of the classifier for `head_fit.known_classes` only: the other
            classes are new.
        new_classes: names of the classes that the file's head does not have, if it has some others.
    """

    tensors: dict[str, Tensor]
    target_keys: tuple[str, ...]
    missing_keys: tuple[str, ...]
    mismatched_keys: tuple[tuple[str, str, str], ...]
    unexpected_keys: tuple[str, ...]
    prefix_rule: tuple[str, str] = ("", "")
    skipped_head_classes: int = 0
    is_matched_by_order: bool = False
    head_fit: HeadFit = field(default_factory=HeadFit)
    row_tensors: Mapping[str, Tensor] = field(default_factory=dict)
    new_classes: tuple[str, ...] = ()

    @property
    def matched_count(self) -> int:
        """Number of target tensors that the file has."""
        return sum(name in self.tensors or name in self.row_tensors for name in self.target_keys)

    @property
    def is_sufficient(self) -> bool:
        """Return whether the file has at least half of the target tensors."""
        return bool(self.target_keys) and 2 * self.matched_count >= len(self.target_keys)

    def summarize_match(self, part: str) -> list[tuple[str, dict[str, object]]]:
        """Summarize what matched and what did not, the most important first.

        Args:
            part: `all`, `backbone` or `head`, as requested.

        Returns:
            Pairs of message key (below `log.init_`) and its values.
        """
        entries: list[tuple[str, dict[str, object]]] = [
            (part, {"matched": self.matched_count, "wanted": len(self.target_keys)})
        ]
        if self.is_matched_by_order:
            entries.append(("ordered", {}))
        elif any(self.prefix_rule):
            key = "prefix" if not self.prefix_rule[1] else "added" if not self.prefix_rule[0] else "replaced"
            entries.append((key, {"old": self.prefix_rule[0], "new": self.prefix_rule[1]}))
        entries += head_rows.summarize_head(self.head_fit, self.new_classes)
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
                entries.append((key, {"count": len(names), "names": head_rows.format_names(names)}))
        if bad_names := tensor_search.list_nonfinite({**self.tensors, **self.row_tensors}):
            entries.append(("nonfinite", {"count": len(bad_names), "names": head_rows.format_names(bad_names)}))
        return entries


def map_checkpoint_keys(
    checkpoint: ForeignCheckpoint,
    network_tensors: Mapping[str, Tensor],
    head_path: str,
    part: str = "all",
    renames: list[tuple[str, str]] | None = None,
    class_names: Sequence[str] = (),
) -> KeyMapping:
    """Map the tensors of a file to those of a network.

    Args:
        checkpoint: the file's tensors.
        network_tensors: `Network.state_dict()`, on any device, `meta` included.
        head_path: where the classifier sits in the library's module (`BackboneSpec.head`).
        part: `all`, `backbone` or `head`.
        renames: prefixes of the file's names and their replacements, applied before the search.
        class_names: of the run, in order: rows of the file's head are matched by name. Empty takes them by number.

    Returns:
        The mapping.
    """
    file_tensors, original_names = _rename_tensors(checkpoint, renames or [])
    source_by_name, prefix_rule, is_matched_by_order = _match_backbone(file_tensors, network_tensors)
    source_by_name |= key_search.match_head(
        file_tensors, network_tensors, head_path, prefix_rule, set(source_by_name.values())
    )
    target_keys = _list_target_keys(network_tensors, part)
    used_sources = set(source_by_name.values())
    fit_names = class_names if part != "backbone" else ()
    head_fit = head_rows.fit_head(file_tensors, network_tensors, source_by_name, checkpoint.class_lists, fit_names)
    row_tensors, file_tensors = head_rows.take_head_rows(head_fit, file_tensors, network_tensors, source_by_name)
    file_classes = _count_file_classes(head_fit, file_tensors, network_tensors, source_by_name)
    is_head_unusable = head_fit.class_list is not None and head_fit.weight is None
    source_by_name = {name: source for name, source in source_by_name.items() if name not in row_tensors}
    # A classifier for other classes is no mistake when everything was asked for: the head then starts anew.
    if is_head_unusable or (file_classes and part == "all"):
        source_by_name = {name: source for name, source in source_by_name.items() if not name.startswith("head.")}
    if (is_head_unusable or file_classes) and part == "all":
        target_keys = tuple(name for name in target_keys if not name.startswith("head."))
    fitting_sources = _select_fitting(source_by_name, file_tensors, network_tensors, part)
    return KeyMapping(
        tensors={
            name: file_tensors[source].reshape(network_tensors[name].shape).to(network_tensors[name].dtype)
            for name, source in fitting_sources.items()
        },
        target_keys=target_keys,
        missing_keys=tuple(name for name in target_keys if name not in source_by_name and name not in row_tensors),
        mismatched_keys=tuple(
            (name, _format_shape(file_tensors[source_by_name[name]]), _format_shape(network_tensors[name]))
            for name in source_by_name
            if _is_in_part(name, part) and name not in fitting_sources
        ),
        unexpected_keys=_list_unexpected_keys(checkpoint, original_names, used_sources, set(fitting_sources.values())),
        prefix_rule=prefix_rule,
        skipped_head_classes=file_classes if part != "backbone" else 0,
        is_matched_by_order=is_matched_by_order,
        head_fit=head_fit,
        row_tensors=row_tensors,
        new_classes=head_fit.list_new_classes(class_names) if row_tensors else (),
    )


def _select_fitting(
    source_by_name: Mapping[str, str],
    file_tensors: Mapping[str, Tensor],
    network_tensors: Mapping[str, Tensor],
    part: str,
) -> dict[str, str]:
    """Return the entries of `source_by_name` that belong to a part and whose shapes fit."""
    return {
        name: source
        for name, source in source_by_name.items()
        if _is_in_part(name, part) and key_search.shapes_fit(file_tensors[source], network_tensors[name])
    }


def _rename_tensors(
    checkpoint: ForeignCheckpoint, renames: list[tuple[str, str]]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Apply a person's renames, and strip wrappers.

    Args:
        checkpoint: the file's tensors.
        renames: prefixes and their replacements, with or without the container.

    Returns:
        Tensors and original names by new name.
    """
    file_tensors: dict[str, Tensor] = {}
    original_names: dict[str, str] = {}
    for name, tensor in checkpoint.tensors.items():
        container = checkpoint.containers.get(name, "")
        new_name = name.removeprefix(container)
        for old, new in renames:
            if new_name.startswith(old):
                new_name = new + new_name.removeprefix(old)
            elif (container + new_name).startswith(old):
                new_name, container = new + (container + new_name).removeprefix(old), ""
        new_name = key_search.strip_wrappers(container + new_name)
        # Stripping wrappers may give two tensors one name: the first is kept.
        if new_name not in file_tensors:
            file_tensors[new_name], original_names[new_name] = tensor, name
    return file_tensors, original_names


def _match_backbone(
    file_tensors: Mapping[str, Tensor], network_tensors: Mapping[str, Tensor]
) -> tuple[dict[str, str], tuple[str, str], bool]:
    """Find the backbone's tensors by name, else by order.

    Args:
        file_tensors: by name.
        network_tensors: by name.

    Returns:
        Name in the file by the network's name, the prefix rule, and whether the order was used.
    """
    backbone_names = {name.removeprefix("backbone."): name for name in network_tensors if name.startswith("backbone.")}
    prefix_rule = key_search.find_prefix_rule(
        file_tensors, {name: network_tensors[full_name] for name, full_name in backbone_names.items()}
    )
    source_by_name: dict[str, str] = {}
    is_matched_by_order = False
    for name, full_name in backbone_names.items():
        source = key_search.get_source_name(name, prefix_rule)
        if source in file_tensors:
            source_by_name[full_name] = source
    fit_count = sum(
        key_search.shapes_fit(file_tensors[source], network_tensors[full_name])
        for full_name, source in source_by_name.items()
    )
    # Less than half fits: the names are those of another library.
    if 2 * fit_count < len(backbone_names):
        ordered_sources = key_search.match_by_order(
            file_tensors, {full_name: network_tensors[full_name] for full_name in backbone_names.values()}
        )
        if ordered_sources:
            source_by_name, prefix_rule, is_matched_by_order = ordered_sources, ("", ""), True
    return source_by_name, prefix_rule, is_matched_by_order


def _is_in_part(name: str, part: str) -> bool:
    """Return whether a tensor belongs to a part. Auxiliary classifiers belong to none: they are new each time."""
    return name.startswith(("backbone.", "head.") if part == "all" else f"{part}.")


def _list_target_keys(network_tensors: Mapping[str, Tensor], part: str) -> tuple[str, ...]:
    """List the tensors of a part of the network, without BatchNorm's counters of batches.

    Args:
        network_tensors: by name.
        part: `all`, `backbone` or `head`.

    Returns:
        Their names.
    """
    return tuple(
        name for name in network_tensors if _is_in_part(name, part) and not name.endswith("num_batches_tracked")
    )


def _list_unexpected_keys(
    checkpoint: ForeignCheckpoint,
    original_names: Mapping[str, str],
    used_sources: Collection[str],
    fitting_sources: Collection[str],
) -> tuple[str, ...]:
    """List the tensors of the file that the network has no place for.

    Args:
        checkpoint: the file's tensors.
        original_names: names in the file by new name (see `_rename_tensors`).
        used_sources: new names of the tensors that the network has a place for.
        fitting_sources: new names of the tensors that fit; only their containers are searched.

    Returns:
        Names in the file.
    """
    containers = {checkpoint.containers.get(original_names[source], "") for source in fitting_sources}
    return tuple(
        original_name
        for file_name, original_name in original_names.items()
        if file_name not in used_sources and checkpoint.containers.get(original_name, "") in containers
    )


def _count_file_classes(
    head_fit: HeadFit,
    file_tensors: Mapping[str, Tensor],
    network_tensors: Mapping[str, Tensor],
    source_by_name: Mapping[str, str],
) -> int:
    """Count the classes of the file's classifier, if nothing but their number is known.

    Args:
        head_fit: of this classifier.
        file_tensors: by name.
        network_tensors: by name.
        source_by_name: name in the file by the network's name.

    Returns:
        Their number if it differs from the network's; else 0.
    """
    weight_name = f"{key_search.get_classifier_path(network_tensors)}.weight"
    source_name = source_by_name.get(weight_name)
    if source_name is None or head_fit.class_list or head_fit.is_complete:
        return 0
    file_class_count = int(file_tensors[source_name].shape[0])
    return 0 if file_class_count == network_tensors[weight_name].shape[0] else file_class_count


def _format_shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "1"
