"""What the Train tab says about a training before it starts: its weights, its time, the disk that it takes."""

from __future__ import annotations

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.core import kv_cache, messages
from ftlab.models.pretrained import weights
from ftlab.runs.jobs.time_estimate import TimeEstimate
from ftlab.ui.common import run_status_view


def describe_weights(spec: BackboneSpec, mode: str) -> str:
    """Return where the weights are, under which licence if that is an unusual one, and whether CAMs are impossible."""
    location = weights.locate_weights(spec)
    if mode == "scratch":
        sentences = [messages.get_text("train.facts.weights_none")]
    elif not spec.weights:
        sentences = [messages.get_text("train.facts.weights_nowhere")]
    else:
        message_key = "train.facts.weights_here" if location.ready else "train.facts.weights_download"
        sentences = [messages.get_text(message_key, megabytes=f"{location.megabytes:.0f}")]
        if spec.name not in backbones.BACKBONES and spec.licence:
            sentences.append(messages.get_text("train.facts.licence", licence=spec.licence))
    if not spec.cam:
        sentences.append(messages.get_text("train.facts.no_map"))
    return " · ".join(sentences)


def describe_estimate(estimate: TimeEstimate) -> str:
    """Return how long a training takes, and how much disk its cached activations take."""
    time_text, budget_bytes = run_status_view.format_duration(estimate.seconds), kv_cache.get_feature_budget()
    message_key = "train.facts.time_kept" if estimate.kept_images else "train.facts.time"
    text = messages.get_text(message_key, time=time_text, pace=f"{estimate.images_per_second:,.0f}")
    if not estimate.disk_megabytes:
        return text
    is_too_large = estimate.disk_megabytes * 1e6 > budget_bytes
    sizes = {"megabytes": f"{estimate.disk_megabytes:,.0f}", "budget": f"{budget_bytes / 1e6:,.0f}"}
    disk_key = "train.facts.activations_large" if is_too_large else "train.facts.activations"
    return f"{text} · {messages.get_text(disk_key, **sizes)}"
