"""What each command does. Its result goes to standard output, a table for people or JSON lines for programs."""

from __future__ import annotations

import csv
import sys
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ftlab import backbones, config, session, words
from ftlab import runs as directory
from ftlab.config import TrainConfig
from ftlab.errors import ConfigError, DataError, FtlabError, RunError
from ftlab.jobs import autopsy, worker
from ftlab.printing import as_json, bar, table
from ftlab.runs import Run


def scan(options: Namespace) -> None:
    """Classes, splits and problems of a folder, a zip or a list."""
    from ftlab.data.catalog import SPLITS
    from ftlab.data.catalog import scan as look

    shares = TrainConfig(val_share=options.val_share, test_share=options.test_share, seed=options.seed)
    with bar("console.checking") as progress:
        found = look(
            options.folder,
            val_share=shares.val_share,
            test_share=shares.test_share,
            seed=shares.seed,
            progress=progress,
        )
    counts = found.counts()
    if options.json:
        splits = {split: len(found.splits[split]) for split in SPLITS}
        problems = [problem.to_json() for problem in found.problems]
        as_json({"classes": counts, "splits": splits, "layout": found.layout, "problems": problems})
        return
    print(words.text(f"cli.layout.{found.layout}", folder=words.one_line(found.root)))
    rows = [[words.one_line(name), *(counts[name][split] for split in SPLITS)] for name in found.classes]
    table(["class", *SPLITS], rows)
    for one in found.problems:
        print(words.text("cli.problem", file=one.where, problem=one.problem, remedy=one.remedy))


def train(options: Namespace) -> int:
    """A new run, trained by this process."""
    settings = given(options)
    if not (settings.data or settings.sample):
        raise ConfigError("config.no_source")
    backbones.get(settings.backbone)  # no run is made for one that is not there
    if settings.init and not session.adopting():
        from ftlab.models import foreign

        settings = foreign.resolve(settings, options.runs)
    if settings.data:
        settings = replace(settings, data=str(Path(settings.data).expanduser().absolute()))
        if not session.adopting():  # else a run is there already, and the training says in it what is amiss
            from ftlab.data import origin

            with bar("console.unpacking") as progress:
                origin.find(settings.data, progress)
    else:
        from ftlab.data import rendered

        with bar("console.drawing") as progress:  # seconds, the first time
            rendered.ensure(settings.sample, progress=progress)
    return _trained(session.create(settings, options.runs), settings, options)


def resume(options: Namespace) -> int:
    """Go on with a run that was stopped, has failed or died."""
    run = session.adoptable()
    if run is None:
        run = directory.find(options.runs, options.run)
        if run.status() == "finished":
            raise RunError("run.finished", run=run.name)
    return _trained(run, run.config(), options)


def runs(options: Namespace) -> None:
    """All runs, the newest first."""
    found = [Run(Path(options.runs) / name) for name in directory.names(options.runs)]
    if not found and not options.json:
        print(words.text("cli.no_runs", folder=options.runs))
    rows = []
    for run in found:
        try:
            ended, settings = run.ended(), run.config()
        except FtlabError as mistake:  # one that is damaged hides no other
            print(f"ftlab: {mistake}", file=sys.stderr)
            continue
        best = ended.best_val_accuracy if ended else None
        facts = {
            "run": run.name,
            "status": run.status(),
            "backbone": settings.backbone,
            "mode": settings.mode,
            "data": settings.sample or settings.data,
            "best_epoch": ended.best_epoch if ended else None,
            "best_val_accuracy": best,
        }
        gone = autopsy.cause(run) if facts["status"] == "died" else None
        if options.json:
            as_json({**facts, "cause": gone.why if gone else ended.message if ended else None})
        standing = words.text("status.short.died_why", cause=gone.word) if gone else facts["status"]
        rows.append([run.name, standing, "–" if best is None else f"{best:.1%}", facts["data"]])
    if rows and not options.json:
        table(["run", "status", "best", "data"], rows)


def stop(options: Namespace) -> None:
    """Ask a run to end at its next step, or end its process now."""
    run = directory.find(options.runs, options.run)
    status, heard = run.status(), run.pulse()
    if status not in directory.LIVE:
        raise RunError("run.idle", run=run.name)
    if options.now:
        worker.end(run)
        said = words.text("cli.ended_now", run=run.name)
    else:
        run.ask_stop()
        said = words.text("cli.stopping", run=run.name)
        if status == "hanging" and heard:
            said = words.text("cli.stopping_silent", run=run.name, silence=f"{heard.silence:.0f}")
    if options.json:
        as_json({"run": run.name, "stop": "ended" if options.now else "asked"})
    else:
        print(said)


def evaluate(options: Namespace) -> None:
    """Score a run's best model on a split."""
    from ftlab.inference.scoring import score

    run = directory.find(options.runs, options.run)
    with bar("console.validation") as progress:
        found = score(run, options.split, progress)
    if options.json:
        as_json(asdict(found))
    else:
        print(words.text("cli.score", split=options.split, **asdict(found)))


def predict(options: Namespace) -> int:
    """The top classes of each file, a line each."""
    _within("--top", options.top, 1, 1000)
    model, files = _model(options), pictures(options.files)
    mistakes = 0
    lines = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    for file in files:
        try:
            top = model.top(file, options.top)
        except FtlabError as mistake:
            mistakes += 1
            print(f"ftlab: {mistake}", file=sys.stderr)
            continue
        if options.json:
            as_json({"file": str(file), "top": [{"class": s.name, "probability": s.probability} for s in top]})
        else:
            lines.writerow([str(file), *(f"{s.name} {s.probability:.1%}" for s in top)])
    return 2 if mistakes == len(files) else 0


def explain(options: Namespace) -> int:
    """A figure of each file: the picture, the heat map of a class, the overlay, the top classes."""
    from ftlab import plots
    from ftlab.inference import cam

    _within("--opacity", options.opacity, 0, 1)
    model, files = _model(options), pictures(options.files)
    index = None
    if options.of is not None:
        if options.of not in model.classes:
            raise ConfigError("config.class", name=options.of, names=", ".join(model.classes[:20]))
        index = model.classes.index(options.of)
    out, mistakes = Path(options.out), 0
    alone = len(files) == 1 and bool(out.suffix) and not out.is_dir()
    if alone:
        plots.check(out)
    for number, file in enumerate(files):
        try:
            scores, found = model.look(file, index)
        except FtlabError as mistake:
            mistakes += 1
            print(f"ftlab: {mistake}", file=sys.stderr)
            continue
        name = model.classes[found.index]
        target = out if alone else _figure(out, files, number, name)
        shown = cam.overlay(found.picture, found.heat, found.box, options.opacity)
        bars = [(score.name, score.probability) for score in scores]
        figure = plots.explanation_figure(found.picture, shown, found.heat, bars)
        plots.save(figure, target)
        if options.json:
            as_json({"file": str(file), "class": name, "evidence": found.evidence, "out": str(target)})
        else:
            key = "cli.explained" if found.evidence else "cli.no_evidence" if found.mapped else "cli.no_map"
            print(words.text(key, file=file, name=name, out=target))
    return 2 if mistakes == len(files) else 0


def measure(options: Namespace) -> None:
    """How fast this machine trains with a configuration, in pictures per second. The page asks for it."""
    from ftlab.training.speed import measure as run_measure

    speed = run_measure(config.load(options.config))
    as_json(asdict(speed))


def given(options: Namespace) -> TrainConfig:
    """The configuration of `--config` and flags; a flag wins."""
    base = config.load(options.config).to_json() if options.config else {}
    flags = {name: getattr(options, name) for name in config.KNOBS if hasattr(options, name)}
    if flags.get("data") or flags.get("sample"):
        base |= {"data": "", "sample": ""}
    return config.from_json({**base, **flags})


def pictures(named: list[str]) -> list[Path]:
    """Files as they are, folders as the pictures below them, sorted.

    Raises:
        DataError: a name is neither, or no picture is found.
    """
    from ftlab.data.decode import EXTENSIONS

    found: list[Path] = []
    for name in map(Path, named):
        if name.is_dir():
            found += sorted(p for p in name.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
        elif name.is_file():
            found.append(name)
        else:
            raise DataError("data.no_file", file=name)
    if not found:
        raise DataError("data.no_pictures_named", files=", ".join(named))
    return found


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError("config.bounds", name=name, value=value, low=low, high=high)


def _figure(out: Path, files: list[Path], number: int, name: str) -> Path:
    """Where the figure of one of several pictures goes: a file of its own in the folder `out`."""
    from ftlab.plots import FORMATS

    folder = out.with_suffix("") if out.suffix.lower() in FORMATS and not out.is_dir() else out
    same = sum(other.stem == files[number].stem for other in files[:number])
    stem = f"{files[number].stem}-{same + 1}" if same else files[number].stem
    return folder / f"{stem}-{name}.png".replace("/", "_")


def _trained(run: Run, settings: TrainConfig, options: Namespace) -> int:
    if session.first():
        print(words.text("console.run", run=run.path), file=sys.stderr)
    ended = session.follow(run, settings)
    if ended is None or not session.first():
        return 0
    if options.json:
        facts = asdict(ended)
        kept = ("reason", "best_epoch", "best_val_accuracy", "epoch", "seconds", "message")
        as_json({"run": run.name, "path": str(run.path), **{key: facts[key] for key in kept}})
    return 2 if ended.reason == "failed" else 0


def _model(options: Namespace) -> Any:
    from ftlab.inference.predictor import load

    return load(None if options.run == "default" else directory.find(options.runs, options.run))
