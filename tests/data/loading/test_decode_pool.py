"""Decoders: files read ahead by processes as by threads, and no process outlives its use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from ftlab.core.errors import ImageError
from ftlab.data.images import decode
from ftlab.data.images.decode_options import DecodeOptions
from ftlab.data.isolation import worker_process
from ftlab.data.loading import decode_pool
from ftlab.data.loading.decode_pool import DecodePool
from tests.support import drawn_images


def instead(read: str) -> str:
    """What a process runs when it reads by the expression `read` of a file and the options."""
    code = worker_process.WORKER_CODE
    return code.replace("worker_main.serve", f"worker_main.OPERATIONS['read_image'] = {read}; worker_main.serve")


def processes_of(reading: DecodePool) -> list[subprocess.Popen[bytes]]:
    return [worker.process for worker in reading.workers.workers] if reading.workers else []


def read_and_kill(process_count: int, files: list[Path]) -> list[decode.ImageArray | ImageError]:
    """What such processes read of the files, all of them killed after every twelve."""
    found = []
    with DecodePool(process_count, DecodeOptions(512), use_processes=True) as reading:
        for start in range(0, len(files), 12):
            found += reading.submit(files[start : start + 12]).result()
            for process in processes_of(reading):
                process.kill()
    return found


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all end by themselves, in whatever time they need."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
            return True
        time.sleep(0.02)
    return False


def all_kinds(folder: Path) -> list[Path]:
    """Pictures of every kind, a turned one and a large one among them; files that are none; one that is not there."""
    files = sorted(drawn_images.tiny(folder).rglob("*.*"))
    scene = Image.fromarray(np.random.default_rng(1).integers(0, 256, (600, 500, 3), np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "turned.jpg": (scene, {"exif": turned}),
        "clear.png": (scene.convert("RGBA").resize((40, 30)), {}),
        "deep.png": (Image.fromarray(np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)), {}),
        "few.gif": (scene.resize((70, 20)).quantize(16), {}),
        "grün.webp": (scene.resize((33, 44)), {}),
        "pages.tiff": (scene.convert("L"), {"compression": "tiff_lzw"}),
    }
    for name, (image, options) in kinds.items():
        image.save(folder / name, **options)
    whole = (folder / "turned.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "page.jpg").write_bytes(b"<html>")
    (folder / "long.png").write_bytes(drawn_images.png(2010, 10))
    others = ["cut.jpg", "page.jpg", "long.png", "lost\udcff.jpg"]
    return [*files, *(folder / name for name in [*kinds, *others])]


def same(one: decode.ImageArray | ImageError, other: decode.ImageArray | ImageError) -> bool:
    if isinstance(one, ImageError) or isinstance(other, ImageError):
        facts = [(type(it), getattr(it, "code", ""), getattr(it, "values", {}), str(it)) for it in (one, other)]
        return facts[0] == facts[1]
    return one.dtype == other.dtype == np.uint8 and np.array_equal(one, other)


def test_processes_and_threads_give_in_order_what_the_door_for_pixels_gives(tmp_path: Path) -> None:
    files = all_kinds(tmp_path / "all")
    expected = [decode_pool.read_or_error(file, DecodeOptions(100)) for file in files]
    refused = [one.code for one in expected if isinstance(one, ImageError)]
    assert refused == ["truncated", "web_page", "too_long", "missing"]
    assert [one.shape for one in expected if not isinstance(one, ImageError)][-6] == (125, 150, 3), "turned, a quarter"
    for processes in (True, False):
        with DecodePool(2, DecodeOptions(100), use_processes=processes) as reading:
            chunks = [reading.submit(files[start : start + 4]) for start in range(0, len(files), 4)]
            found = [one for chunk in chunks for one in chunk.result()]
            assert reading.submit([]).result() == []
        assert len(found) == len(files)
        assert all(map(same, found, expected))


def test_a_process_knows_no_torch_and_is_no_second_run_of_the_program(tmp_path: Path) -> None:
    """A program without `if __name__ == …` too, which `multiprocessing` would run again in each process."""
    program = tmp_path / "program.py"
    asks = instead(
        "lambda file, _: worker_main.ImageError(str(sorted({'torch', 'multiprocessing.spawn'} & set(sys.modules))))"
    )
    program.write_text(
        "from ftlab.data.images.decode_options import DecodeOptions\n"
        "from ftlab.data.isolation import worker_process\n"
        "from ftlab.data.loading import decode_pool\n"
        "print('once')\n"
        f"worker_process.WORKER_CODE = {asks!r}\n"
        "with decode_pool.DecodePool(1, DecodeOptions(64), use_processes=True) as reading:\n"
        "    print(reading.submit(['any']).result()[0].code)\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("once\n[]\n", "")


BUSY = "lambda *_: __import__('time').sleep(0.5)"


@pytest.mark.parametrize("read", ["worker_main._read_image", BUSY], ids=["idle", "busy"])
def test_processes_end_without_a_word_when_their_parent_is_killed(read: str) -> None:
    program = (
        "import time\n"
        "from ftlab.data.images.decode_options import DecodeOptions\n"
        "from ftlab.data.isolation import worker_process\n"
        "from ftlab.data.loading import decode_pool\n"
        f"worker_process.WORKER_CODE = {instead(read)!r}\n"
        "with decode_pool.DecodePool(2, DecodeOptions(64), use_processes=True) as reading:\n"
        "    asked = [reading.submit(['any']) for _ in range(3)]\n"
        "    asked[0].result()\n"
        "    print('begun', flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stderr
        assert parent.stdout.readline().strip() == b"begun"
        served = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
        assert len(served) >= 2
        assert gone(served)
        assert parent.stderr.read() == b""


@pytest.mark.parametrize("processes", [True, False])
def test_closing_leaves_no_process_and_no_thread(*, processes: bool, tiny_folder: Path) -> None:
    files = sorted(tiny_folder.rglob("*.*"))
    with DecodePool(2, DecodeOptions(64), use_processes=processes) as reading:
        asked = [reading.submit(files) for _ in range(20)]
        asked[0].result()
        started = processes_of(reading)
        assert all(process.poll() is None for process in started)
    assert len(started) == 2 * processes
    assert all(process.poll() is not None for process in started)
    assert processes_of(reading) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]
    assert all(one.done() for one in asked)
    with pytest.raises(RuntimeError):
        reading.submit(files)


def test_closing_does_not_wait_for_what_a_process_is_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "WORKER_CODE", instead("lambda *_: __import__('time').sleep(600)"))
    with DecodePool(1, DecodeOptions(64), use_processes=True) as reading:
        begun, waiting = reading.submit([Path("one")]), reading.submit([Path("two")])
        while not begun.running():
            time.sleep(0.01)
    for one in (begun, waiting):
        with pytest.raises(CancelledError):
            one.result()


def test_a_process_that_is_killed_is_replaced_and_no_file_is_blamed(
    tiny_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = sorted(tiny_folder.rglob("*.*"))
    assert all(map(same, read_and_kill(2, files), map(decode.read_image, files)))
    assert {"ended (memory), but not at" in record.message for record in caplog.records} == {True}


@pytest.mark.parametrize("ended_after", [1, 2])
def test_processes_that_end_while_they_start_are_replaced_and_no_file_is_blamed(
    ended_after: int, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when memory is short: the second and third process end before they are ready, the others work."""
    files = sorted(tiny_folder.rglob("*.*"))
    count = tmp_path / "starts"
    ends = (
        f"import os, sys; number = os.path.exists({str(count)!r}) and os.path.getsize({str(count)!r}); "
        f"open({str(count)!r}, 'a').write('.'); number in (1, {ended_after}) and os.kill(os.getpid(), 9); "
    )
    monkeypatch.setattr(worker_process, "WORKER_CODE", ends + worker_process.WORKER_CODE)
    assert all(map(same, read_and_kill(1, files), map(decode.read_image, files)))
    assert count.stat().st_size > 3


def test_a_file_at_which_processes_crash_is_left_out_and_the_rest_read(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(tiny_folder.rglob("*.*"))
    dies = "lambda file, options: os._exit(1) if 'blue_3' in file else worker_main._read_image(file, options)"
    monkeypatch.setattr(worker_process, "WORKER_CODE", instead(dies).replace("import sys", "import os, sys"))
    with DecodePool(2, DecodeOptions(512), use_processes=True) as reading:
        tasks = reading.submit_each(files)
        found = [task.result()[place] for task, place in tasks]
    refused = [(one.code, Path(str(one.values["file"])).name) for one in found if isinstance(one, ImageError)]
    assert refused == [("decoder_crashed", "blue_3.jpg")]
    assert all(
        same(one, decode.read_image(file)) for one, file in zip(found, files, strict=True) if file.stem != "blue_3"
    )


@pytest.mark.parametrize("how", ["never started", "talks nonsense"])
def test_where_no_process_can_be_had_this_one_decodes_and_the_log_says_so(
    how: str, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = sorted(tiny_folder.rglob("*.*"))
    if how == "never started":
        monkeypatch.setattr(sys, "executable", os.fspath(tiny_folder / "python"))
    else:
        code = f"print('hello', flush=True); {worker_process.WORKER_CODE}"
        monkeypatch.setattr(worker_process, "WORKER_CODE", code)
    with DecodePool(2, DecodeOptions(512), use_processes=True) as reading:
        found = [one for start in (0, 12) for one in reading.submit(files[start : start + 12]).result()]
    assert all(map(same, found, map(decode.read_image, files)))
    assert ["within this process" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize("processes", [True, False])
def test_a_bug_is_not_taken_for_a_bad_picture(*, processes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_file: Path, options: DecodeOptions) -> decode.ImageArray:  # noqa: ARG001 (passed by name)
        raise ZeroDivisionError

    monkeypatch.setattr(decode, "read_image", broken)
    monkeypatch.setattr(worker_process, "WORKER_CODE", instead("lambda *_: 1 / 0"))
    with (
        DecodePool(1, DecodeOptions(64), use_processes=processes) as reading,
        pytest.raises(RuntimeError if processes else ZeroDivisionError) as bug,
    ):
        reading.submit([Path("any")]).result()
    assert "ZeroDivisionError" in repr(bug.value)


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is not sent to another group there")
def test_ctrl_c_is_for_the_parent_alone(tiny_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = sorted(tiny_folder.rglob("*.*"))
    with DecodePool(1, DecodeOptions(64), use_processes=True) as reading:
        reading.submit(files).result()
        (process,) = processes_of(reading)
        assert os.getpgid(process.pid) != os.getpgid(0)
        process.send_signal(signal.SIGINT)
        reading.submit(files).result()
        assert process.poll() is None
    assert capfd.readouterr().err == ""
