"""A name that runs code in a page, or in a script of it, that does not take it for text."""

EVIL = "<img src=x onerror=alert(1)>${alert(2)}"

SCRIPTS = (
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(2)>',
    "${alert(3)}",
    "{{alert(4)}}",
    "'-alert(5)-'",
    "[x](javascript:alert(6))",
    "</script><script>alert(7)</script>",
)
"""Texts that run in a page that takes them for HTML, an attribute, a template, a script, Markdown or its end."""
FILE_NAMES = tuple(text for text in SCRIPTS if "/" not in text)
"""Those that a file or a folder can have for a name."""
CANARY = "window.alert = (text) => { window.hasRun = text }"
"""Script for the beginning of a page: what has run is then in `window.hasRun`."""
