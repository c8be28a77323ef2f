"""Links from the pages into the repository: the site carries the files that they name.

A page links to ``../../examples/plain_loop.py``, which works where the repository is browsed. On the site the file is
published as ``repository/examples/plain_loop.py``, and the link is turned to it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

REPOSITORY = Path(__file__).parent.parent
PAGES = Path(__file__).parent / "pages"
LINK = re.compile(r"\]\(\.\./\.\./([^)#\s]+)")


def linked_files() -> set[str]:
    """Paths in the repository that any page links to."""
    return {path for page in PAGES.glob("*.md") for path in LINK.findall(page.read_text(encoding="utf-8"))}


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Publish the linked files with the site; one that isn't there ends the build."""
    for path in sorted(linked_files()):
        source = REPOSITORY / path
        if not source.is_file():
            raise FileNotFoundError(f"a page links to {path}, which is no file of the repository")
        # A Markdown file would be rendered as a page of the site, with its own relative links.
        name = f"repository/{path}.txt" if source.suffix == ".md" else f"repository/{path}"
        files.append(File.generated(config, name, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turn the links of one page."""
    return LINK.sub(lambda found: f"](repository/{found[1]}{'.txt' if found[1].endswith('.md') else ''}", markdown)
