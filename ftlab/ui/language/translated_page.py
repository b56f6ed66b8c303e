"""The page in several languages on one server: one set of components and events, and the layout once per language.

A page of another language is built only to take its texts: components, events and their numbers are those of the page
that is mounted, since the same code builds both. So a visit can change its language without a new session, and queue,
limits and state are those of one page. `messages.current_language` decides which layout a request gets; events run in
the language of the request that sent them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio import utils
from gradio.context import Context
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ftlab.core import messages
from ftlab.server.people.languages import LANGUAGE_KEY

_LAYOUT_KEYS = ("title", "components", "dependencies")
"""Parts of a page's configuration that hold texts: of the window, of the components, and of the events' scripts."""
_LANGUAGE_SCRIPT = """<script>{
  const tag = %s;
  document.documentElement.lang = tag;
  Object.defineProperty(navigator, "language", {get: () => tag});
  Object.defineProperty(navigator, "languages", {get: () => [tag]});
}</script>"""
_gradio_get_function_with_locals = utils.get_function_with_locals


class TranslatedBlocks(gr.Blocks):
    """A page whose configuration is in the language of the request that asks for it."""

    def __init__(self, build_translation: Callable[[], gr.Blocks], title: str, delete_cache: tuple[int, int]) -> None:
        """Start the page in the current language.

        Args:
            build_translation: builds the same page in the language that is current when it is called.
            title: as for `gr.Blocks`.
            delete_cache: as for `gr.Blocks`.
        """
        _follow_languages()
        self._build_translation = build_translation
        self._language = messages.current_language()
        self._first_id = Context.id
        self._layouts: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        super().__init__(title=title, delete_cache=delete_cache)

    @property
    def config(self) -> Any:
        """Return the configuration of the page in the current language."""
        language = messages.current_language()
        if language == self._language:
            return self._own_config
        # Once per language, when the first visitor asks for it: the start of the server does not wait for it.
        with self._lock:
            if language not in self._layouts:
                self._layouts[language] = self._build_layout()
        return self._own_config | self._layouts[language]

    @config.setter
    def config(self, config: Any) -> None:
        self._own_config = config

    def _build_layout(self) -> dict[str, Any]:
        """Return the parts of the configuration that hold texts, in the current language.

        Raises:
            RuntimeError: the page built for it has other components or events, which is a bug.
        """
        next_id, Context.id = Context.id, self._first_id
        try:
            translation: Any = self._build_translation().get_config_file()
        finally:
            Context.id = next_id
        for part in ("components", "dependencies"):
            if [item["id"] for item in translation[part]] != [item["id"] for item in self._own_config[part]]:
                raise RuntimeError(f"the {part} of the page differ between languages")
        return {key: translation[key] for key in _LAYOUT_KEYS}


class DocumentLanguage:
    """Middleware that writes the language into the document, for screen readers and for Gradio's own texts.

    Gradio takes the language of these from the browser's settings, which the switch of the page cannot change.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Store the next ASGI application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and complete the document in its answer.

        Args:
            scope: ASGI connection scope.
            receive: ASGI receive channel.
            send: ASGI send channel.
        """
        if scope["type"] != "http" or scope["path"] != "/":
            return await self._app(scope, receive, send)
        script = _LANGUAGE_SCRIPT % json.dumps(messages.get_text("page.language_tag"))
        start: Message = {}

        async def send_document(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message  # its length is known with the body only
                return
            if start:
                body = message.get("body", b"").replace(b"<head>", f"<head>{script}".encode(), 1)
                added_bytes = len(body) - len(message.get("body", b""))
                headers = MutableHeaders(scope=start)
                if added_bytes and "content-length" in headers:
                    headers["content-length"] = str(int(headers["content-length"]) + added_bytes)
                headers.add_vary_header("Cookie, Accept-Language")
                await send(start)
                start, message = {}, {**message, "body": body}
            await send(message)

        await self._app(scope, receive, send_document)


def _follow_languages() -> None:
    """Let the handlers of events run in the language of the request that sent them. Repeating it changes nothing."""
    utils.get_function_with_locals = _get_function_with_language


def _get_function_with_language(*args: Any, **options: Any) -> Any:
    """Return a handler that sets the language before each of its steps, then does as Gradio's own."""
    request = options.get("request")
    scope = getattr(getattr(request, "request", request), "scope", None) or {}
    return utils.function_wrapper(
        _gradio_get_function_with_locals(*args, **options),
        before_fn=messages.set_language,
        before_args=(scope.get(LANGUAGE_KEY, ""),),
        after_fn=messages.set_language,
        after_args=("",),
    )
