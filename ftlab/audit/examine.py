"""Audit of a data set: search for whatever spoils a training or makes its accuracy misleading.

That is duplicates of an image in training and test, wrong labels, and images that show nothing or something else. A
finding is a suspicion with its reason, never a verdict: the user decides, and `split.json` records what is excluded.
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
"""Largest number of images that are audited; of a larger data set, so many are sampled evenly."""
IMBALANCE_RATIO = 3.0
"""Largest class over a class, in training images, above which the class is rare: from there on the imbalance costs it
accuracy (Buda et al., 2018, Neural Networks 106, section 4).
"""
MIN_TRAIN_IMAGES = 10
"""Number of training images below which a class is reported, whatever the size of the others."""


@dataclass(frozen=True)
class AuditProgress:
    """Progress of an audit.

    Attributes:
        stage: `pictures` (images measured), `labels` (heads trained) or `map`.
        done, total: counts within the stage.
    """

    stage: str
    done: int
    total: int


def audit_dataset(
    catalog: Catalog, backbone_name: str = backbones.DEFAULT_BACKBONE
) -> Iterator[AuditProgress | AuditReport]:
    """Audit all images of a data set and save the report.

    `WeightsError` (the backbone's weights are neither here nor downloadable) and `OSError` (the report cannot be saved)
    propagate.

    Args:
        catalog: the data set.
        backbone_name: backbone whose features are used, with its pretrained weights.

    Yields:
        Progress, and finally the report.
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
    # Duplicates first: the searches for label errors and outliers use their groups.
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
        value_ranges=catalog.value_ranges.to_json(),
    )
    findings.save_report(report, catalog)
    yield report


def find_class_imbalance(catalog: Catalog) -> list[Finding]:
    """Return a finding for each class with far fewer training images than the largest one, the rarest first."""
    counts = sorted((split_counts["train"], name) for name, split_counts in catalog.count_images().items())
    largest_count = counts[-1][0]
    return [
        Finding("imbalance", (), values={"name": name, "count": count, "most": largest_count})
        for count, name in counts
        if (count * IMBALANCE_RATIO < largest_count) or count < MIN_TRAIN_IMAGES
    ]


class _Audit:
    """One audit of a data set: its measurements, and the findings derived from them.

    The methods build on each other: `find_duplicates` must be called before `find_label_issues` and `find_outliers`.

    Attributes:
        catalog: the data set.
        measurements: of its N images.
        prep: preprocessing of the backbone.
        notes: (code, values) of the sentences about the data set as a whole.
        image_labels: int64 [N].
        is_blank: bool [N].
        visible_indices: int [V], the images that are not blank.
        duplicate_groups: int [N], the same number for all copies of an image.
    """

    def __init__(self, catalog: Catalog, measurements: DatasetMeasurements, backbone_name: str) -> None:
        """Find the blank images; all else is computed by the methods.

        Args:
            catalog: the data set.
            measurements: of its N images.
            backbone_name: the backbone that measured them.
        """
        self.catalog, self.measurements = catalog, measurements
        self.prep = preprocess.from_spec(backbones.get_backbone_spec(backbone_name))
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.image_labels = torch.tensor([item.label for _, item in measurements.split_items], dtype=torch.int64)
        self.is_blank = image_quality.find_blank(measurements)
        self.visible_indices = np.nonzero(~self.is_blank)[0]
        self.duplicate_groups = np.arange(len(measurements.split_items))

    def make_image_ref(self, index: int) -> ImageRef:
        """Return the reference of a report to an image: its path, class name and split."""
        split, item = self.measurements.split_items[index]
        return ImageRef(item.path, self.catalog.classes[item.label], split)

    def find_duplicates(self) -> list[Finding]:
        """Return exact and near duplicates, those across splits first; record them in `duplicate_groups`."""
        exact_groups = duplicates.find_exact_duplicates(self.measurements, self.visible_indices)
        duplicate_indices = {index for group in exact_groups for index in group[1:]}
        # Near duplicates are searched among one of each group of exact ones.
        unique_indices = np.array(
            [index for index in self.visible_indices.tolist() if index not in duplicate_indices], np.intp
        )
        near_groups = duplicates.find_near_duplicates(self.measurements, unique_indices)
        # Near groups first: an exact copy then takes over the number of the near group that its first image is in.
        for group in (*near_groups, *exact_groups):
            self.duplicate_groups[group[1:]] = self.duplicate_groups[group[0]]
        all_findings = []
        for kind, groups in (("exact", exact_groups), ("near", near_groups)):
            kind_findings = []
            for group in groups:
                # Exclude all but the first. Training images come first in the order, so that the model is never
                # evaluated on what it was trained on.
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
        """Return blank, tiny, blurred and odd-shaped images."""
        is_tiny, dataset_is_tiny = image_quality.find_tiny(self.measurements, self.prep)
        is_odd, dataset_is_odd = image_quality.find_odd_shaped(self.measurements)
        image_sizes = image_quality.get_image_sizes(self.measurements)
        if dataset_is_tiny:
            self.notes.append(("tiny", {"side": self.prep.side}))
        if dataset_is_odd:
            self.notes.append(("odd", {}))
        # A blank image has no edges: its blur says nothing.
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
        """Search for probably wrong labels.

        Yields:
            The number of heads trained so far, and finally the findings.
        """
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
        """Return images far from all others.

        Copies count once: an outlier and its copy would otherwise be each other's nearest neighbor.
        """
        unique_indices: npt.NDArray[np.intp] = np.unique(self.duplicate_groups[self.visible_indices])
        all_findings = []
        for position, distance in label_errors.find_outliers(self.measurements.embeddings[unique_indices]):
            image_ref = self.make_image_ref(int(unique_indices[position]))
            all_findings.append(Finding("outsider", (image_ref,), (image_ref.path,), {"distance": round(distance, 2)}))
        return all_findings

    def build_map(self, all_findings: list[Finding]) -> findings.EmbeddingMap | None:
        """Return the map of evenly sampled images and of those with findings; None if there are too few."""
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
        # At most a quarter more than `MAX_MAP_IMAGES`: the time of exact t-SNE grows with the square.
        selected = sorted(spaced_indices | set(flagged_indices[: embedding_map.MAX_MAP_IMAGES // 4]))
        image_paths = [self.catalog.image_path(self.measurements.split_items[index][1]) for index in selected]
        return embedding_map.build_embedding_map(
            image_paths,
            list(map(self.make_image_ref, selected)),
            self.measurements.embeddings[selected],
            self.catalog.value_ranges,
        )
