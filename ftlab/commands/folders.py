"""The command about a folder of pictures."""

from __future__ import annotations

from argparse import Namespace

from ftlab import words
from ftlab.config import DEALING, TrainConfig
from ftlab.printing import as_json, bar, table


def scan(options: Namespace) -> None:
    """Classes, splits and problems of a folder, a zip or a list."""
    from ftlab.data.catalog import SPLITS
    from ftlab.data.catalog import scan as look

    dealing = {name: getattr(options, name) for name in DEALING}
    TrainConfig(**dealing)  # refuses what is out of bounds
    with bar("console.checking") as progress:
        found = look(options.folder, **dealing, progress=progress)
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
