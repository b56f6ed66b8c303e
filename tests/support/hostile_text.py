"""A name that runs code in a page, or in a script of it, that does not take it for text."""

EVIL = "<img src=x onerror=alert(1)>${alert(2)}"
