"""The doctor: one look through a data set for what spoils a training or makes its score a lie.

Copies of a picture in training and test, labels that are wrong, pictures that show nothing or something else. What is
found is a suspicion with its reason, never a verdict: a person decides, and `split.json` has what is left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ftlab.audit import duplicates, embedding_map, embeddings, findings, image_quality, label_errors
from ftlab.audit.embeddings import DatasetMeasurements
from ftlab.audit.findings import AuditReport, Finding, ImageRef
from ftlab.config import backbones
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.split import SPLITS
from ftlab.data.transforms import preprocess

MAX_AUDITED_IMAGES = 20_000
"""Pictures that are looked at; of more, so many evenly taken."""
IMBALANCE_RATIO = 3.0
"""A class with less than a third of the pictures of the largest one is rare: from there on what the training sees of
the classes differs enough to cost the rare one accuracy (Buda et al., 2018, Neural Networks 106, section 4)."""
MIN_TRAIN_IMAGES = 10
"""Training pictures below which a class is named whatever the others have."""


@dataclass(frozen=True)
class AuditProgress:
    """How far it is: `stage` is `pictures`, `labels` or `map`, `done` and `total` count in it."""

    stage: str
    done: int
    total: int


def audit_dataset(
    catalog: Catalog, backbone_name: str = backbones.DEFAULT_BACKBONE
) -> Iterator[AuditProgress | AuditReport]:
    """Look at all pictures: how far it is, at last the report, which is kept too.

    Raises:
        WeightsError: the backbone's weights are neither here nor to be had.
        OSError: the report cannot be kept.
    """
    start_time = time.monotonic()
    all_items = [(split, item) for split in SPLITS for item in catalog.splits[split]]
    total = min(len(all_items), MAX_AUDITED_IMAGES)
    sampled_items = [all_items[position * len(all_items) // total] for position in range(total)]
    cache_path = findings.get_report_folder(catalog) / f"{backbone_name.replace('/', '_')}.safetensors"
    for update in embeddings.measure_images(catalog, sampled_items, backbone_name, cache_path):
        if isinstance(update, int):
            yield AuditProgress("pictures", update, total)
        else:
            measurements = update
    audit = _Audit(catalog, measurements, backbone_name)
    all_findings = audit.find_duplicates() + audit.find_quality_issues()
    for label_update in audit.find_label_issues():
        if isinstance(label_update, int):
            yield AuditProgress("labels", label_update, label_errors.HEAD_COUNT)
        else:
            all_findings += label_update
    all_findings += audit.find_outliers()
    yield AuditProgress("map", 0, 1)
    image_map = audit.build_map(all_findings)
    report = AuditReport(
        root=str(catalog.root),
        manifest=catalog.compute_fingerprint(),
        backbone=backbone_name,
        looked=len(measurements.split_items),
        left=len(all_items) - total,
        unread=tuple(measurements.unreadable_paths),
        findings=tuple(
            sorted(
                all_findings + find_class_imbalance(catalog),
                key=lambda finding: findings.FINDING_KINDS.index(finding.kind),
            )
        ),
        notes=tuple(audit.notes),
        map=image_map,
        seconds=round(time.monotonic() - start_time, 1),
    )
    findings.save_report(report, catalog)
    yield report


def find_class_imbalance(catalog: Catalog) -> list[Finding]:
    """The classes that have far fewer training pictures than the largest, the rarest first."""
    counts = sorted((split_counts["train"], name) for name, split_counts in catalog.count_images().items())
    largest_count = counts[-1][0]
    return [
        Finding("imbalance", (), values={"name": name, "count": count, "most": largest_count})
        for count, name in counts
        if (count * IMBALANCE_RATIO < largest_count) or count < MIN_TRAIN_IMAGES
    ]


class _Audit:
    """One data set: what was measured of it, and what follows."""

    def __init__(self, catalog: Catalog, measurements: DatasetMeasurements, backbone_name: str) -> None:
        self.catalog, self.measurements = catalog, measurements
        self.prep = preprocess.from_spec(backbones.get_backbone_spec(backbone_name))
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.image_labels = torch.tensor([item.label for _, item in measurements.split_items], dtype=torch.int64)
        self.is_blank = image_quality.find_blank(measurements)
        self.visible_indices = np.nonzero(~self.is_blank)[0]
        self.duplicate_groups = np.arange(len(measurements.split_items))

    def make_image_ref(self, index: int) -> ImageRef:
        split, item = self.measurements.split_items[index]
        return ImageRef(item.path, self.catalog.classes[item.label], split)

    def find_duplicates(self) -> list[Finding]:
        """Exact and near copies, those across splits first."""
        exact_groups = duplicates.find_exact_duplicates(self.measurements, self.visible_indices)
        duplicate_indices = {index for group in exact_groups for index in group[1:]}
        unique_indices = np.array(
            [index for index in self.visible_indices.tolist() if index not in duplicate_indices], np.intp
        )
        near_groups = duplicates.find_near_duplicates(self.measurements, unique_indices)
        for group in (*near_groups, *exact_groups):
            self.duplicate_groups[group[1:]] = self.duplicate_groups[group[0]]
        all_findings = []
        for kind, groups in (("exact", exact_groups), ("near", near_groups)):
            kind_findings = []
            for group in groups:
                # The first is kept, and training comes first: so what is measured on was never trained on.
                image_refs = tuple(map(self.make_image_ref, group))
                class_names = {entry.name for entry in image_refs}
                values = {
                    "count": len(group),
                    "classes": len(class_names),
                    "splits": len({entry.split for entry in image_refs}),
                }
                kind_findings.append(Finding(kind, image_refs, tuple(entry.path for entry in image_refs[1:]), values))
            all_findings += sorted(
                kind_findings, key=lambda entry: (not entry.crosses_splits, entry.values["classes"] == 1)
            )
        return all_findings

    def find_quality_issues(self) -> list[Finding]:
        """Blank, tiny, blurred and odd-shaped pictures."""
        is_tiny, dataset_is_tiny = image_quality.find_tiny(self.measurements, self.prep)
        is_odd, dataset_is_odd = image_quality.find_odd_shaped(self.measurements)
        image_sizes = image_quality.get_image_sizes(self.measurements)
        if dataset_is_tiny:
            self.notes.append(("tiny", {"side": self.prep.side}))
        if dataset_is_odd:
            self.notes.append(("odd", {}))
        masks_by_kind = {
            "blank": self.is_blank,
            "tiny": is_tiny,
            "odd": is_odd,
            "blurry": image_quality.find_blurred(self.measurements, ~self.is_blank),
        }
        all_findings = []
        for kind, mask in masks_by_kind.items():
            for index in np.nonzero(mask)[0].tolist():
                width, height = image_sizes[index].tolist()
                side_percent = round(100 * min(width, height) / max(width, height))
                values = {"width": width, "height": height, "share": side_percent, "side": self.prep.side}
                image_ref = self.make_image_ref(index)
                all_findings.append(Finding(kind, (image_ref,), (image_ref.path,), values))
        return all_findings

    def find_label_issues(self) -> Iterator[int | list[Finding]]:
        """Heads trained so far, at last the labels that are probably wrong."""
        rare_classes = [
            name
            for name, split_counts in self.catalog.count_images().items()
            if sum(split_counts.values()) < label_errors.FOLD_COUNT
        ]
        if rare_classes:
            self.notes.append(("few", {"count": len(rare_classes), "least": label_errors.FOLD_COUNT}))
        label_findings, label_issues = [], list[label_errors.LabelIssue]()
        duplicate_groups = self.duplicate_groups[self.visible_indices]
        for update in label_errors.find_label_errors(
            self.measurements.embeddings[self.visible_indices],
            self.image_labels[self.visible_indices],
            duplicate_groups,
        ):
            if isinstance(update, int):
                yield update
            else:
                label_issues = update
        for issue in label_issues:
            image_ref = self.make_image_ref(int(self.visible_indices[issue.index]))
            values = {
                "name": image_ref.name,
                "probable": self.catalog.classes[issue.suggested_label],
                "percent": round(100 * issue.suggested_probability),
                "given": round(100 * issue.label_probability),
            }
            label_findings.append(Finding("label", (image_ref,), (image_ref.path,), values))
        yield label_findings

    def find_outliers(self) -> list[Finding]:
        """Pictures far from all others. Copies count once: a stray picture and its copy would vouch for each other."""
        unique_indices: npt.NDArray[np.intp] = np.unique(self.duplicate_groups[self.visible_indices])
        all_findings = []
        for position, distance in label_errors.find_outliers(self.measurements.embeddings[unique_indices]):
            image_ref = self.make_image_ref(int(unique_indices[position]))
            all_findings.append(Finding("outsider", (image_ref,), (image_ref.path,), {"distance": round(distance, 2)}))
        return all_findings

    def build_map(self, all_findings: list[Finding]) -> findings.EmbeddingMap | None:
        """The map of evenly taken pictures, and of those that something was found in."""
        total, flagged_paths = (
            len(self.measurements.split_items),
            {image_ref.path for finding in all_findings for image_ref in finding.pictures},
        )
        capacity = min(total, embedding_map.MAX_MAP_IMAGES)
        spaced_indices = {position * total // capacity for position in range(capacity)} if capacity else set()
        flagged_indices = [
            index
            for index, (_, item) in enumerate(self.measurements.split_items)
            if item.path in flagged_paths and index not in spaced_indices
        ]
        selected = sorted(spaced_indices | set(flagged_indices[: embedding_map.MAX_MAP_IMAGES // 4]))
        image_paths = [self.catalog.image_path(self.measurements.split_items[index][1]) for index in selected]
        return embedding_map.build_embedding_map(
            image_paths, list(map(self.make_image_ref, selected)), self.measurements.embeddings[selected]
        )
