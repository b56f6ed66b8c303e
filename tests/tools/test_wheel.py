"""What a release wheel must contain."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from ftlab.export.web_page.page_files import STATIC_FOLDER
from ftlab.export.web_runtime import WEB_RUNTIME_SHA256
from tools import wheel

CONTENT = [
    *(f"ftlab/export/onnxruntime_web/{name}" for name in (*WEB_RUNTIME_SHA256, "LICENSE", "ThirdPartyNotices.txt")),
    *(f"ftlab/export/web_page/static/{path.name}" for path in STATIC_FOLDER.iterdir()),
    "ftlab/inference/heat_drawing.js",
    "ftlab/export/space_format/files/app.py.txt",
    "ftlab/export/space_format/files/model.py.txt",
]


def write_wheel(folder: Path, names: list[str]) -> Path:
    path = folder / "ftlab-1.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return path


def test_a_wheel_with_the_runtime_of_browsers_its_licenses_and_the_exported_pages_is_complete(tmp_path: Path) -> None:
    wheel.check_content(write_wheel(tmp_path, CONTENT))


@pytest.mark.parametrize("name", CONTENT)
def test_a_wheel_that_lacks_one_of_them_is_no_release(tmp_path: Path, name: str) -> None:
    with pytest.raises(SystemExit, match=f"lacks {name}"):
        wheel.check_content(write_wheel(tmp_path, [other for other in CONTENT if other != name]))
