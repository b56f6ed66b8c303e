"""Event handlers of the Train tab, without its components: start and resume, and the facts before a start."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ftlab.config import backbones, trackers
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages, shell
from ftlab.core.errors import FtlabError, RunError
from ftlab.core.html import Markup, join_html, tag
from ftlab.data.dataset.catalog import Catalog
from ftlab.reporting.plots import plot_training_curves
from ftlab.runs.cluster import address
from ftlab.runs.directory import Run
from ftlab.runs.jobs import kept_features, series, time_estimate
from ftlab.runs.jobs.local_launcher import describe_wait, open_queue
from ftlab.runs.jobs.time_estimate import TimeEstimate
from ftlab.runs.queue import train_command
from ftlab.server.people.lesson_rules import LessonRules
from ftlab.server.people.person import Person
from ftlab.server.people.rights import Action
from ftlab.server.profile import ServerProfile
from ftlab.training.devices import rank_environment
from ftlab.ui.common import data_choice, init_choice, run_status, run_status_view
from ftlab.ui.common.data_choice import DataSource
from ftlab.ui.common.html import render_error
from ftlab.ui.train import facts, form
from ftlab.ui.train.visible_runs import VisibleRuns

_MAX_MEASURE_ERRORS = 50
"""Failed speed measurements that are remembered; the oldest is dropped first."""


class TrainActions(VisibleRuns):
    """Event handlers of the Train tab, and the runs that a page may see. One instance per tab of a server."""

    def __init__(self, profile: ServerProfile) -> None:
        """Create the handlers of a server."""
        super().__init__(profile)
        self._queue = open_queue(profile.runs_dir)
        self._measure_errors: OrderedDict[tuple[DataSource, TrainConfig], RunError] = OrderedDict()

    def save_curves_image(self, page_state: object, folder: Path) -> Path:
        """Save the training curves of the page's run as a PNG file.

        Args:
            page_state: see `ftlab.ui.train.visible_runs`.
            folder: folder below which the file is written.

        Returns:
            Path of the file.

        Raises:
            RunError: the page has no run.
        """
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

    # --- start, resume

    def start_training(self, config: TrainConfig, source: DataSource | None = None) -> Run:
        """Start a training in a process of its own, or queue it while another one runs.

        Fails with `RunError` where its space is used up or too many trainings of this person wait, and with
        `ConfigError` for a timm model that does not exist.

        Args:
            config: the configuration.
            source: its images, for an estimate of how long others will wait for it; None: unknown.

        Returns:
            The new run, which belongs to whoever sent the event.
        """
        person = self._get_starter(config)
        backbones.get_backbone_spec(config.backbone)  # before the run directory: an unknown backbone creates none
        seconds = self._estimate_seconds(source, config) if source else None
        run = self._queue.add_training(config, person.owner, seconds=seconds, is_pausable=not person.leads)
        self._queue.dispatch()
        return run

    def start_series(self, base_config: TrainConfig) -> None:
        """Start trainings in every mode, one after the other, each of which is queued; fails as `start_training` does.

        Args:
            base_config: the configuration; its mode is not used.

        Raises:
            RunError: this is a Space, a series is under way already, or as above.
        """
        # The button is hidden on a Space, but any program can send its event.
        if self.profile.is_space:
            raise RunError("run.series_space")
        person = self._get_starter(*series.expand_modes(base_config))
        backbones.get_backbone_spec(base_config.backbone)  # an unknown backbone starts no process
        series.start_series(base_config, self.profile.runs_dir, person.owner, is_pausable=not person.leads)

    def _get_starter(self, *configs: TrainConfig) -> Person:
        """Return who sent the event, if they may start trainings with these configurations.

        Raises:
            RunError: they may not, or the teacher does not allow it now.
        """
        person = self.get_person()
        if not person.may(Action.START):
            raise RunError("run.may_not_start")
        for config in configs:
            LessonRules(self.profile.runs_dir).check_start(person, config)
            _check_requirements(config)
        return person

    def resume_training(self, run: Run) -> Run:
        """Resume a run that ended early, or queue it while another one runs.

        Fails with `RunError` if the teacher does not allow it now, or if the run cannot be resumed.

        Args:
            run: the run.

        Returns:
            The same run.
        """
        person = self._get_starter(run.load_config())
        self._queue.add_resume(run, is_pausable=not person.leads)
        self._queue.dispatch()
        return run

    def describe_queued_start(self, run: Run) -> str:
        """Return the sentence about a run that did not start at once; empty if it did."""
        if run.liveness.get_status() != "queued":
            return ""
        return messages.get_text("queue.started_later", place=describe_wait(run)).strip()

    # --- before the start

    def parse_source(self, input_values: Sequence[Any]) -> DataSource:
        """Return the data source named by the four values of the Dataset tab: sample, location and both shares."""
        sample, folder, val_share, test_share = input_values
        return data_choice.parse_source(self.profile, sample, folder, val_share, test_share)

    def parse_inputs(self, config_form: form.ConfigForm, input_values: Sequence[Any]) -> tuple[DataSource, TrainConfig]:
        """Return data source and configuration from the values of all inputs.

        Fails with an `FtlabError` if a value is not allowed; `form.format_error` says which.

        Args:
            config_form: the components of the form.
            input_values: the four values of the Dataset tab, then those of the form.

        Returns:
            Data source, and configuration with resolved initial weights.
        """
        source = self.parse_source(input_values[:4])
        return source, init_choice.resolve_init(
            self.profile, config_form.read_config(input_values[4:], **source.to_config_fields())
        )

    def count_images(self, source: DataSource, config: TrainConfig) -> None:
        """Scan a sample set and look up a timm model; either takes seconds the first time.

        A folder is scanned only when the person asks for it in the Dataset tab: what is being typed may be the
        beginning of another path. Fails with `ConfigError` for a timm model that does not exist.

        Args:
            source: the data source.
            config: the configuration.
        """
        backbones.get_backbone_spec(config.backbone)
        if source.folder is None:
            data_choice.scan_source(source)

    def measure_throughput(self, source: DataSource, config: TrainConfig, should_continue: Callable[[], bool]) -> None:
        """Measure how fast this machine trains with this configuration, unless it is known. Takes seconds.

        Args:
            source: the data source; nothing is measured before it was scanned.
            config: the configuration.
            should_continue: called repeatedly; the measurement is dropped once it returns False, or when a training
                starts.
        """
        scanned = data_choice.find_scanned_catalog(source)
        catalog = data_choice.resplit_catalog(scanned, config) if scanned else None
        if catalog is None or (source, config) in self._measure_errors or self.find_active_run():
            return
        if backbones.find_known_spec(config.backbone) is None:  # `count_images` looks it up first
            return
        if time_estimate.find_known_estimate(config, *_count_split_images(catalog)) is None:
            try:
                time_estimate.measure_and_estimate(
                    config,
                    catalog.root,
                    *_count_split_images(catalog),
                    # A training that starts meanwhile and the measurement would slow each other down.
                    should_continue=lambda: should_continue() and not self.find_active_run(),
                )
            except RunError as error:
                # Remembered: each later edit of the form would repeat a measurement that fails after seconds.
                self._measure_errors[source, config] = error
                while len(self._measure_errors) > _MAX_MEASURE_ERRORS:
                    self._measure_errors.popitem(last=False)

    def render_facts(self, source: DataSource, config: TrainConfig) -> Markup:
        """Render what is known before the start: images, parameters, weights and time.

        Args:
            source: the data source.
            config: the configuration.

        Returns:
            A definition list, as HTML; what takes longer to find out is announced in it.
        """
        # Only what is known without waiting; `count_images` and `measure_throughput` fill the gaps, then ask again.
        spec, mode = backbones.find_known_spec(config.backbone), config.mode
        scanned = data_choice.find_scanned_catalog(source)
        catalog = data_choice.resplit_catalog(scanned, config) if scanned else None
        weights_text = facts.describe_weights(spec, mode) if spec else messages.get_text("train.facts.looking_up")
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
                output_count = 1 if config.head_kind == "logit" else len(catalog.classes)  # two classes, one logit
                trainable_count, total_count = backbones.count_parameters(spec, output_count, mode, config.head_hidden)
                is_part = bool(config.unfreeze_from) and not config.unfreeze_all_epoch
                message_key = "train.facts.parameters_part" if is_part else "train.facts.parameters"
                parameters_text = messages.get_text(
                    message_key, learning=_format_count(trainable_count), total=_format_count(total_count)
                )
            estimate = self._find_estimate(config, catalog)
            if estimate:
                time_text = facts.describe_estimate(estimate)
            elif (source, config) in self._measure_errors:
                time_text = form.format_error(self._measure_errors[source, config])
            elif self.find_active_run():
                time_text = messages.get_text("train.facts.time_busy")
        return _render_fact_list(pictures=images_text, parameters=parameters_text, weights=weights_text, time=time_text)

    def _find_estimate(self, config: TrainConfig, catalog: Catalog) -> TimeEstimate | None:
        """Return how long a training on these images takes, as far as it is known without measuring."""
        train_count, val_count = _count_split_images(catalog)
        is_kept = kept_features.has_kept_features(config, catalog.compute_fingerprint(), self.profile.runs_dir)
        return time_estimate.find_known_estimate(
            config, train_count, val_count, train_count + val_count if is_kept else 0
        )

    def _estimate_seconds(self, source: DataSource, config: TrainConfig) -> float | None:
        """Return how long a training will take; None before its images were scanned and its speed was measured.

        Args:
            source: the data source.
            config: the configuration.
        """
        scanned = data_choice.find_scanned_catalog(source)
        if scanned is None or backbones.find_known_spec(config.backbone) is None:
            return None
        estimate = self._find_estimate(config, data_choice.resplit_catalog(scanned, config))
        return estimate.seconds if estimate else None

    def render_preflight(self, config_form: form.ConfigForm, input_values: Sequence[Any]) -> tuple[str, str]:
        """Return the facts as HTML and the command that Start runs; or the error that prevents it, and no command."""
        try:
            # The command is the one that `start_training` runs, so that it can be repeated in a terminal.
            source, config = self.parse_inputs(config_form, input_values)
            _check_requirements(config)
            measure_error = self._measure_errors.get((source, config))
            if measure_error and measure_error.code == "run.refused":  # the training would refuse the settings too
                raise measure_error
            return self.render_facts(source, config), shell.format_command(
                train_command.build_train_command(config, self.profile.runs_dir)
            )
        except FtlabError as error:
            return render_error(form.format_error(error)), ""


def _check_requirements(config: TrainConfig) -> None:
    """Check that a training has what it needs where it will run; a `ConfigError` says what is missing.

    Args:
        config: of the training.
    """
    trackers.check_trackers_installed(config.trackers)
    if not address.is_cluster_declared():  # its machines have other cores, and it places the processes
        rank_environment.check_process_count(config.processes)


def _count_split_images(catalog: Catalog) -> tuple[int, int]:
    """Return the number of training and of validation images."""
    return len(catalog.splits["train"]), len(catalog.splits["val"])


def _render_fact_list(**facts: str) -> Markup:
    """Return a definition list of facts; their labels are messages."""
    rows = [
        tag("div", tag("dt", messages.get_text(f"train.facts.{key}_label")), tag("dd", text))
        for key, text in facts.items()
    ]
    return tag("dl", join_html(rows), class_="ftlab-facts")


def _format_count(count: int) -> str:
    """Return a count with thousands separators, or in millions."""
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count:,}"
