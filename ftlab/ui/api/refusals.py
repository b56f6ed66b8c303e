"""Refusals of calls: one line for people and a word for programs; an error of ftlab's own stays in the server's log."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable
from typing import Any, NoReturn

import gradio as gr

from ftlab.config.train_config import FIELDS
from ftlab.core import messages
from ftlab.core.errors import FtlabError, ImageError
from ftlab.ui.api.answers import make_plain
from ftlab.ui.api.refusal_status import BUG_CODE, BUSY_CODE, set_refusal_status
from ftlab.ui.predict.view import format_image_error

MAX_TEXT_CHARS = 600
"""Characters of a refusal: it may repeat what a program has sent."""


class CallRefusal(gr.Error):
    """Refusal of a call, which is answered with a status of its own.

    Gradio tells its clients the text as `error` (`message` of the Python client) and the code as `title`.
    """

    def __init__(self, code: str, text: str) -> None:
        """Store what clients get.

        Args:
            code: key of the message, for example `run.missing`.
            text: one line.
        """
        super().__init__(message=text, duration=None, title=code, print_exception=False)
        set_refusal_status(code)

    def __str__(self) -> str:
        """Return code and text: what a client of the Model Context Protocol gets."""
        return f"{self.title}: {self.message}"


def guard_handler(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return a handler whose errors are refusals, and whose answers are plain JSON.

    Args:
        handler: of an endpoint.

    Returns:
        A function with the parameters of the handler, which Gradio looks at.
    """

    @functools.wraps(handler)
    def answer_call(*values: Any) -> Any:
        try:
            return make_plain(handler(*values))
        except FtlabError as error:
            raise CallRefusal(error.code, format_refusal(error)) from error
        except Exception as error:
            # Gradio would print it, but not where the call came by MCP.
            logging.getLogger(__name__).exception("the endpoint %s failed", handler.__name__)
            raise CallRefusal(BUG_CODE, messages.get_text("call.bug")) from error

    return answer_call


def refuse_busy(text: str) -> NoReturn:
    """Refuse a call of somebody who waits for many answers already.

    Args:
        text: the message.

    Raises:
        CallRefusal: always.
    """
    raise CallRefusal(BUSY_CODE, text)


def format_refusal(error: FtlabError) -> str:
    """Return the message of an error in one line, with the names of arguments in place of command-line flags.

    Args:
        error: the error; of an image, what is wrong with it, without the path of the file.
    """
    text = format_image_error(error) if isinstance(error, ImageError) else str(error)
    text = re.sub(r"--([a-z][a-z0-9-]*)", _name_argument, text)
    if len(text) > MAX_TEXT_CHARS:
        text = f"{text[: MAX_TEXT_CHARS // 2]}…{text[-MAX_TEXT_CHARS // 2 :]}"
    return messages.escape_control_chars(text)


def _name_argument(match: re.Match[str]) -> str:
    """Return the name of the setting of a flag; the flag itself where it is none of a setting."""
    name = match[1].replace("-", "_")
    return name if name in FIELDS else match[0]
