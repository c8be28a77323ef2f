"""One HTML file that opens from disk, without a network: data, script, style and plotly's library are in it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import os
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rankwatch.runtime.files.file_actions import write

_START = """rankwatchPage.show(
  document.getElementById("page"), JSON.parse(document.getElementById("data").textContent));"""
_SCRIPTS = ("page_parts.js", "page_figures.js", "page.js")
_NAMES = {"library": "plotly.min.js", "script": "rankwatch-page.js", "style": "rankwatch-page.css"}


def page_script() -> str:
    """The page's own JavaScript, of which each file uses what those before it define."""
    return "\n".join(_own_file(name) for name in _SCRIPTS)


def page_style() -> str:
    """The page's style sheet."""
    return _own_file("page.css")


def shared_script() -> str:
    """What the pages share: elements and tables."""
    return _own_file(_SCRIPTS[0])


def _own_file(name: str) -> str:
    return resources.files("rankwatch.reporting.page").joinpath(name).read_text(encoding="utf-8")


def plotly_script() -> str:
    """Plotly's JavaScript, as its wheel carries it."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def html_page(data: dict[str, Any], assets: str = "", script: str = "") -> str:
    """The page as text.

    A content security policy lets only these scripts run and nothing be fetched.

    Args:
        data: What `rankwatch.reporting.page.page_data.page_data` gives.
        assets: Relative address of a folder that holds library, script and style (see `write_assets`); empty to have
            them in the page.
        script: What defines `rankwatchPage.show` for these data; the runs' page by default.

    Returns:
        HTML.
    """
    if assets:
        folder = html.escape(assets.rstrip("/"), quote=True)
        links = f'<link rel="stylesheet" href="{folder}/{_NAMES["style"]}">\n' + "\n".join(
            f'<script src="{folder}/{_NAMES[name]}"></script>' for name in ("library", "script")
        )
        inline = [_START]
        sources = "'self' file:"
    else:
        inline = [_closed(plotly_script()), _closed(script or page_script()), _START]
        links = f"<style>{page_style()}</style>\n" + "\n".join(f"<script>{text}</script>" for text in inline[:2])
        sources = ""
    hashes = " ".join(f"'sha256-{_digest(text)}'" for text in inline)
    policy = (
        f"default-src 'none'; script-src {sources} {hashes}; style-src 'unsafe-inline' {sources}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(data['title'][:200])} · rankwatch</title>\n{links}\n</head>\n<body>\n"
        '<noscript>This page needs JavaScript, which is in it; nothing is fetched.</noscript>\n<div id="page"></div>\n'
        f'<script type="application/json" id="data">{json_text(data)}</script>\n<script>{_START}</script>\n'
        "</body>\n</html>\n"
    )


def json_text(data: Any) -> str:
    r"""JSON that may stand in a page: NaN is null, and nothing in it can end a script.

    Args:
        data: Dicts, lists, strings, numbers and None.

    Returns:
        Text without ``<``, ``>`` and ``&``.

    Example:
        >>> json_text({"a": float("nan"), "b": "</script>"})
        '{"a":null,"b":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(_finite(data), allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_page(path: Path, data: dict[str, Any], assets: Path | None = None, script: str = "") -> None:
    """Write the page, whole or not at all, so that a browser that loads it meanwhile never sees half of it.

    Args:
        path: The file; its folder is made.
        data: What `rankwatch.reporting.page.page_data.page_data` gives.
        assets: Folder for library, script and style, which several pages may share; None to have them in the page.
        script: What shows these data, where they aren't a run's; then `assets` must be None.
    """
    address = ""
    if assets is not None:
        write_assets(assets)
        address = _relative(assets.resolve(), path.parent.resolve())
    _write(path, html_page(data, address, script))


def write_assets(folder: Path) -> None:
    """Write library, script and style into a folder, where they aren't there already.

    Args:
        folder: Is made.
    """
    for name, text in (("library", plotly_script()), ("script", page_script()), ("style", page_style())):
        file = folder / _NAMES[name]
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            _write(file, text)


def _write(file: Path, text: str) -> None:
    write(file, lambda there: there.write_text(text, encoding="utf-8"))


def _relative(folder: Path, start: Path) -> str:
    return quote(Path(os.path.relpath(folder, start)).as_posix())


def _closed(script: str) -> str:
    """A script in which nothing looks like its end."""
    return script.replace("</script", "<\\/script")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
