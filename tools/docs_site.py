"""Hook of MkDocs: the README, the other pages of the repository's top folder and the pictures become part of the site.

They are read where they stand, so that nothing exists twice; their links are rewritten to the site's addresses.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

ROOT = Path(__file__).resolve().parent.parent
TOP_PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Files of the top folder, and their addresses on the site."""
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and pictures outside `docs/`.

    Args:
        files: of `docs/`.
        config: of the site.

    Returns:
        The same collection, with the additional files.
    """
    for name, address in TOP_PAGES.items():
        # The README begins with the settings of a Hugging Face Space, which mean nothing here.
        text = FRONT_MATTER.sub("", (ROOT / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, address, content=rewrite_links(text)))
    for picture in sorted((ROOT / "assets").iterdir()):
        files.append(File.generated(config, f"assets/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Return the text of a page with the links that lead out of `docs/` rewritten."""
    return rewrite_links(markdown)


def rewrite_links(markdown: str) -> str:
    """Return Markdown whose relative links are those of the site: all pages in one folder, pictures in `assets/`."""
    markdown = markdown.replace("](docs/", "](").replace("](../assets/", "](assets/")
    for name, address in TOP_PAGES.items():
        markdown = re.sub(rf"\]\((?:\.\./)?{re.escape(name)}", f"]({address}", markdown)
    return re.sub(r"\[([^\]]*)\]\(LICENSE\)", r"\1", markdown)
