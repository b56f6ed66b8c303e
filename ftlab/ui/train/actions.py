"""What the Train tab does, without its components: whose runs are shown, what starts, and what is said before.

What a page keeps (`store`, in the browser) is `{"run": name, "mine": [names]}`, with `"beside": [names]` once it set
runs side by side. It comes from outside and is checked like anything else: on a public Space it can open no run but one
whose whole name, with its 48 random bits, is known.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import FtlabError, RunError
from ftlab.core.html import Markup, join_html, tag
from ftlab.data.dataset.catalog import Catalog
from ftlab.models.pretrained import weights
from ftlab.reporting.plots import plot_training_curves
from ftlab.runs import run_store, trash
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch, time_estimate
from ftlab.ui.common import data_choice, init_choice, run_status, run_status_view
from ftlab.ui.common.access import ServerProfile
from ftlab.ui.common.data_choice import DataSource
from ftlab.ui.common.html import render_error
from ftlab.ui.common.run_status import RunSnapshot
from ftlab.ui.train import form

MAX_LISTED_RUNS = 50
"""Runs that the chooser offers, the newest first."""
TITLE_MAX_AGE_SECONDS = 2.0
"""Seconds in which one listing serves every page."""


class TrainActions:
    """One a server: the folder of runs and who may do what in it."""

    def __init__(self, profile: ServerProfile) -> None:
        self.profile = profile
        self._lock = threading.Lock()
        self._titles: dict[str, tuple[float, str]] = {}
        self._statuses: dict[str, str] = {}
        self._measure_errors: OrderedDict[tuple[DataSource, TrainConfig], str] = OrderedDict()

    # --- which run

    def list_visible_runs(self, page_state: object, in_trash: bool = False) -> list[str]:
        """All runs that this page may see, the newest first; or those `in_trash`."""
        run_names = (
            trash.list_trashed_names(self.profile.runs_dir)
            if in_trash
            else run_store.list_run_names(self.profile.runs_dir)
        )
        if self.profile.is_space:
            own_runs = _get_own_runs(page_state)
            run_names = [run_name for run_name in run_names if trash.get_original_name(run_name) in own_runs]
        return run_names

    def list_offered_runs(self, page_state: object) -> list[str]:
        """Runs that this page offers: the newest that it may see, and those that it looks at."""
        run_names, state = self.list_visible_runs(page_state), page_state if isinstance(page_state, dict) else {}
        compared_runs = state.get("beside")
        referenced_runs = [state.get("run"), *(compared_runs if isinstance(compared_runs, list) else [])]
        return [
            *run_names[:MAX_LISTED_RUNS],
            *(run_name for run_name in run_names[MAX_LISTED_RUNS:] if run_name in referenced_runs),
        ]

    def get_run(self, page_state: object, run_name: object) -> Run:
        """The run of that name.

        Raises:
            RunError: this page may not see it, or it was deleted.
        """
        if isinstance(run_name, str) and run_name in self.list_visible_runs(page_state):
            return Run(self.profile.runs_dir / run_name)
        if isinstance(run_name, str) and run_name in self.list_visible_runs(page_state, in_trash=True):
            raise RunError("run.binned", run=run_name)
        raise RunError("run.missing", run=run_name, folder=self.profile.runs_dir)

    def filter_ticked_runs(self, page_state: object, ticked_names: object) -> list[str]:
        """Those of the runs that are ticked that this page may see, the oldest first: so a run keeps its number and its
        colour as others begin."""
        wanted_names = (
            [run_name for run_name in ticked_names if isinstance(run_name, str)]
            if isinstance(ticked_names, list)
            else []
        )
        return (
            [run_name for run_name in reversed(self.list_offered_runs(page_state)) if run_name in wanted_names]
            if wanted_names
            else []
        )

    def get_selected_run(self, page_state: object) -> Run | None:
        """The run that this page looks at: its own, else, where there are no strangers, the one at work."""
        run_name = page_state.get("run") if isinstance(page_state, dict) else None
        if isinstance(run_name, str) and run_name in run_store.list_run_names(self.profile.runs_dir):
            return Run(self.profile.runs_dir / run_name)
        return None if self.profile.is_space else self.find_active_run()

    def find_active_run(self) -> Run | None:
        """The run that a process works on."""
        return next(iter(run_store.find_active_runs(self.profile.runs_dir)), None)

    def take_snapshot(self, page_state: object) -> RunSnapshot:
        """What is to be seen of that run."""
        run = self.get_selected_run(page_state)
        if run is not None:
            return run_status.watch_run(run).take_snapshot()
        run_name = page_state.get("run") if isinstance(page_state, dict) else None
        if not isinstance(run_name, str) or not run_store.is_run_name(run_name):
            return run_status.build_empty_snapshot()
        return run_status.build_deleted_snapshot(run_name in self.list_visible_runs(page_state, in_trash=True))

    def select_run(self, page_state: object, run: Run) -> dict[str, Any]:
        """What the page keeps once it looks at a run."""
        own_runs = [run_name for run_name in _get_own_runs(page_state) if run_name != run.name]
        return {"run": run.name, "mine": [run.name, *own_runs][:MAX_LISTED_RUNS]}

    def select_compared_runs(self, page_state: object, run_names: list[str]) -> dict[str, Any]:
        """What the page keeps once it sets these runs side by side."""
        return {**(page_state if isinstance(page_state, dict) else {}), "beside": run_names}

    def list_run_choices(self, page_state: object, snapshot: RunSnapshot | None = None) -> list[tuple[str, str]]:
        """(one line, name) of the runs to choose from; that of `snapshot` tells what it tells, others what was true two
        seconds ago at most."""
        now, choices = time.monotonic(), []
        for run_name in self.list_offered_runs(page_state):
            title_time, title = self._titles.get(run_name, (-TITLE_MAX_AGE_SECONDS, ""))
            if now - title_time >= TITLE_MAX_AGE_SECONDS or (
                snapshot and run_name == snapshot.run_name and snapshot.status != self._statuses.get(run_name)
            ):
                title = run_status_view.format_run_title(Run(self.profile.runs_dir / run_name))
                self._titles[run_name] = (now, title)
                if snapshot and run_name == snapshot.run_name:
                    self._statuses[run_name] = snapshot.status
            choices.append((title, run_name))
        return choices

    def save_curves_image(self, page_state: object, folder: Path) -> Path:
        """The curves of the page's run as a PNG file below `folder`. Raises `RunError` when there is no run."""
        run = self.get_selected_run(page_state)
        if run is None:
            raise RunError("run.none")
        image_dir = folder / "curves" / run.name
        image_dir.mkdir(parents=True, exist_ok=True)
        image_path = image_dir / f"{run.name}.png"
        plot_training_curves(run_status.watch_run(run).read_history(), run_status_view.format_run_title(run)).savefig(
            image_path, dpi=150
        )
        return image_path

    # --- start, stop, resume

    def start_training(self, config: TrainConfig) -> Run:
        """Start a training. Raises `RunError` when one is under way on this machine, `ConfigError` when timm has no
        such model."""
        backbones.get_backbone_spec(config.backbone)  # no run is made for one that is not there
        with self._lock:
            self._check_not_busy()
            return launch.start_training(config, self.profile.runs_dir)

    def resume_training(self, run: Run) -> Run:
        """Go on with a run that ended early. Raises `RunError` when that cannot be."""
        with self._lock:
            self._check_not_busy()
            return launch.resume_training(run)

    def stop_training(self, run: Run, by_force: bool) -> None:
        """Ask a run to stop, or end its process `by_force`. Raises `RunError` when the system does not let go of it."""
        if by_force:
            launch.terminate_run(run)
        else:
            run.request_stop()

    def _check_not_busy(self) -> None:
        active_run = self.find_active_run()
        if active_run is not None:
            raise RunError(
                "run.other_busy_space" if self.profile.is_space else "run.other_busy",
                run=run_status_view.format_run_title(active_run),
            )

    # --- before the start

    def parse_source(self, input_values: Sequence[Any]) -> DataSource:
        """The pictures that the Dataset tab names: sample, folder, share for validation, share for test."""
        sample, folder, val_share, test_share = input_values
        return data_choice.parse_source(self.profile, sample, folder, val_share, test_share)

    def parse_inputs(self, config_form: form.ConfigForm, input_values: Sequence[Any]) -> tuple[DataSource, TrainConfig]:
        """Pictures and configuration of all inputs: the four of the Dataset tab, then the form's.

        Raises:
            FtlabError: one of them does not do; `form.sentence` says which.
        """
        source = self.parse_source(input_values[:4])
        return source, init_choice.resolve_init(
            self.profile, config_form.read_config(input_values[4:], **source.to_config_fields())
        )

    def count_images(self, source: DataSource, config: TrainConfig) -> None:
        """Count a sample set's pictures, and look a model of timm up; either takes seconds the first time.

        A folder is looked through only when the person asks for it in the Dataset tab: what is being typed may be
        the beginning of another one.

        Raises:
            ConfigError: timm has no such model.
        """
        backbones.get_backbone_spec(config.backbone)
        if source.folder is None:
            data_choice.scan_source(source)

    def measure_throughput(self, source: DataSource, config: TrainConfig, should_continue: Callable[[], bool]) -> None:
        """Measure how fast this machine trains so, unless that is known; takes seconds, and is given up when a
        training starts or `should_continue` says no."""
        scanned = data_choice.find_scanned_catalog(source)
        catalog = data_choice.resplit_catalog(scanned, config) if scanned else None
        if catalog is None or (source, config) in self._measure_errors or self.find_active_run():
            return
        if backbones.find_known_spec(config.backbone) is None:  # `count` finds it first
            return
        if time_estimate.find_known_estimate(config, *_count_split_images(catalog)) is None:
            try:
                time_estimate.measure_and_estimate(
                    config,
                    catalog.root,
                    *_count_split_images(catalog),
                    should_continue=lambda: should_continue() and not self.find_active_run(),
                )
            except RunError as error:
                self._measure_errors[source, config] = form.format_error(error)
                while len(self._measure_errors) > MAX_LISTED_RUNS:
                    self._measure_errors.popitem(last=False)

    def render_facts(self, source: DataSource, config: TrainConfig) -> Markup:
        """What is to be known before Start, as far as it is known at once."""
        spec, mode = backbones.find_known_spec(config.backbone), config.mode
        scanned = data_choice.find_scanned_catalog(source)
        catalog = data_choice.resplit_catalog(scanned, config) if scanned else None
        weights_text = _describe_weights(spec, mode) if spec else messages.get_text("train.facts.looking_up")
        unknown_key = "train.facts.not_looked" if source.folder else "train.facts.counting"
        images_text, parameters_text = messages.get_text(unknown_key), messages.get_text("train.facts.unknown")
        time_text = messages.get_text(
            "train.facts.unknown" if source.folder and not catalog else "train.facts.measuring"
        )
        if catalog:
            train_count, val_count = _count_split_images(catalog)
            message_key = "train.facts.pictures_test" if catalog.layout == "test_as_val" else "train.facts.pictures"
            images_text = messages.get_text(message_key, classes=len(catalog.classes), train=train_count, val=val_count)
            if spec:
                output_count = 1 if config.head_kind == "logit" else len(catalog.classes)
                trainable_count, total_count = backbones.count_parameters(spec, output_count, mode, config.head_hidden)
                message_key = "train.facts.parameters_part" if config.unfreeze_from else "train.facts.parameters"
                parameters_text = messages.get_text(
                    message_key, learning=_format_count(trainable_count), total=_format_count(total_count)
                )
            estimate = time_estimate.find_known_estimate(config, train_count, val_count)
            if estimate:
                speed_text = f"{estimate.images_per_second:,.0f}"
                time_text = messages.get_text(
                    "train.facts.time", time=run_status_view.format_duration(estimate.seconds), pace=speed_text
                )
            elif (source, config) in self._measure_errors:
                time_text = self._measure_errors[source, config]
            elif self.find_active_run():
                time_text = messages.get_text("train.facts.time_busy")
        return _render_fact_list(pictures=images_text, parameters=parameters_text, weights=weights_text, time=time_text)

    def render_preflight(self, config_form: form.ConfigForm, input_values: Sequence[Any]) -> tuple[str, str]:
        """Facts or the one sentence that stands in their way, as HTML; and the command that Start runs."""
        try:
            source, config = self.parse_inputs(config_form, input_values)
            return self.render_facts(source, config), launch.format_command(
                launch.build_train_command(config, self.profile.runs_dir)
            )
        except FtlabError as error:
            return render_error(form.format_error(error)), ""


def _describe_weights(spec: BackboneSpec, mode: str) -> str:
    """Where the weights are, and under which licence where that is not the usual one; and what the model lacks."""
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


def _count_split_images(catalog: Catalog) -> tuple[int, int]:
    return len(catalog.splits["train"]), len(catalog.splits["val"])


def _get_own_runs(page_state: object) -> list[str]:
    own_runs = page_state.get("mine") if isinstance(page_state, dict) else None
    return (
        [run_name for run_name in own_runs if isinstance(run_name, str)][:MAX_LISTED_RUNS]
        if isinstance(own_runs, list)
        else []
    )


def _render_fact_list(**facts: str) -> Markup:
    rows = [
        tag("div", tag("dt", messages.get_text(f"train.facts.{key}_label")), tag("dd", text))
        for key, text in facts.items()
    ]
    return tag("dl", join_html(rows), class_="ftlab-facts")


def _format_count(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count:,}"
