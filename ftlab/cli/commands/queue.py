"""The command `queue`: which trainings run, and which wait for their turn."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from pathlib import Path

from ftlab.cli.terminal.output import print_json, print_table
from ftlab.core import messages
from ftlab.runs.directory import Run
from ftlab.runs.jobs.local_launcher import open_queue
from ftlab.runs.queue.database import declare_queue_folder
from ftlab.runs.queue.places import PlaceTable, QueuePlace


def queue(options: Namespace) -> None:
    """Print the trainings that run and those that wait, the next one first; with `--json` a line each."""
    declare_queue_folder(options.queue_dir)
    job_queue = open_queue(Path(options.runs))
    state, places = job_queue.read_state(), PlaceTable(job_queue).read_places()
    rows: list[tuple[str, Run, str, QueuePlace | None]] = [("", job.run, job.device, None) for job in state.active]
    rows += [
        (str(place.number), job.run, job.marker.device, place)
        for job in state.waiting
        if (place := places.get(job.run.name))
    ]
    if options.json:
        for _, run, device, place in rows:
            values = dataclasses.asdict(place) if place else {"number": 0, "seconds": None}
            print_json({"run": run.name, "status": run.liveness.get_status(), "device": device, **values})
        return
    if not rows:
        print(messages.get_text("queue.nobody"))
        return
    columns = ("place", "run", "status", "device", "time")
    print_table(
        [messages.get_text(f"queue.column_{name}") for name in columns],
        [
            [
                number or "–",
                run.name,
                messages.get_text(f"status.short.{run.liveness.get_status()}"),
                device,
                "–" if place is None or place.seconds is None else f"{place.seconds / 60:.0f} min",
            ]
            for number, run, device, place in rows
        ],
    )
