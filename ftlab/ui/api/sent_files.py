"""Images and archives that a program sends: in the call itself as a `data:` URL, or uploaded before.

Nothing is fetched: an address of another machine is refused on every server. A path counts where the server itself has
told it to this visitor as that of an upload (`ftlab.server.redaction` gives each visitor names of their own), and for
whoever has the server for themselves also where it lies in the folder that the page may read.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from gradio.utils import get_upload_folder

from ftlab.core.errors import ConfigError, DataError
from ftlab.server.paths import resolve_inside
from ftlab.server.profile import ServerProfile
from ftlab.server.remote_addresses import is_address

if TYPE_CHECKING:  # torch is imported by the first request, not by the page.
    from ftlab.inference.predictor import ImageSource

_DATA_URL_PATTERN = re.compile(r"data:image/[\w.+-]+;base64,", re.ASCII | re.IGNORECASE)
_MAX_PATH_CHARS = 4096
"""Characters of a path, at most: a longer text is an image without what a `data:` URL begins with."""


def open_sent_image(profile: ServerProfile, image: object) -> ImageSource:
    """Return the image of a call.

    Args:
        profile: profile of the server.
        image: `data:` URL, path of an upload, or Gradio's file object with such a path.

    Returns:
        A path, or a stream.

    Raises:
        ConfigError: it is none of these, an address, or no file.
    """
    text = read_location(image)
    if text[:5].lower() == "data:":
        return _decode_data_url(text)
    file = find_sent_file(profile, text)
    if file is None:
        raise ConfigError("call.image_local" if profile.is_local else "call.image")
    return file


def read_location(value: object) -> str:
    """Return the text that names a file: the value itself, or the `path` of Gradio's file object.

    Args:
        value: as it was sent.

    Returns:
        The text; empty for anything else.

    Raises:
        ConfigError: it is the address of another machine.
    """
    location = value.get("path") if isinstance(value, dict) else value
    text = location.strip() if isinstance(location, str) else ""
    if is_address(text) and text[:5].lower() != "data:":
        raise ConfigError("call.address")
    return text


def find_sent_file(profile: ServerProfile, text: str) -> Path | None:
    """Return the file of a path that a program has sent.

    Args:
        profile: profile of the server.
        text: the path.

    Returns:
        An upload of this visitor, or a file in the folder that whoever has the server for themselves may read; None
        where it is neither.
    """
    if not text or len(text) > _MAX_PATH_CHARS:
        return None
    upload = find_upload_file(text)
    if upload is not None or not profile.is_local or profile.data_root is None:
        return upload
    try:
        file = resolve_inside(profile.data_root, text)
    except DataError:
        return None
    return file if file.is_file() else None


def find_upload_file(text: str) -> Path | None:
    """Return the file of a path among the uploads; None where there is none.

    Args:
        text: the path, in which the server's middleware has put the folder in place of the visitor's name for it.
    """
    try:
        real_path = Path(text).resolve()
        is_upload = real_path.is_relative_to(Path(get_upload_folder()).resolve()) and real_path.is_file()
    except (OSError, ValueError, RuntimeError):  # a NUL byte, a loop of links
        return None
    return real_path if is_upload else None


def _decode_data_url(text: str) -> io.BytesIO:
    """Return the content of a `data:` URL of an image.

    Raises:
        ConfigError: it is no image in base64.
    """
    match = _DATA_URL_PATTERN.match(text)
    try:
        content = base64.b64decode(text[match.end() :], validate=True) if match else b""
    except (binascii.Error, ValueError) as cause:
        raise ConfigError("call.data_url") from cause
    if not content:
        raise ConfigError("call.data_url")
    return io.BytesIO(content)
