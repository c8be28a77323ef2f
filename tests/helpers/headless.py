"""A page in headless Chromium, driven by a script that is put into it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

_DRIVER = """
(async () => {
  const ready = () => { const page = document.getElementById("page"); return page && page.dataset.ready; };
  const frames = () => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(go, 0))));
  const pause = (ms) => new Promise((go) => setTimeout(go, ms));
  while (!ready()) await pause(50);
  const find = (where) => document.querySelector(where), all = (where) => [...document.querySelectorAll(where)];
  let found;
  try { found = await (async () => { BODY })(); } catch (error) { found = { error: String(error.stack || error) }; }
  console.info("FOUND " + btoa(unescape(encodeURIComponent(JSON.stringify(found)))) + " END");
})();
"""
_SECONDS = 180  # on a machine that is busy with other tests


def browse(page: Path, body: str, *, address: str = "", size: tuple[int, int] = (1366, 768)) -> tuple[Any, list[str]]:
    """Open a page, wait until all of it is drawn, and run a script in it.

    Args:
        page: As `rankwatch report` has written it; its content security policy holds but for this one script.
        body: JavaScript that returns what JSON can hold; `find`, `all`, `frames` and `pause` are there.
        address: What stands behind the page's address, from ``#`` on.
        size: Of the window.

    Returns:
        What the script returned, and what else was on the console.
    """
    script = driver(body)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = page.read_text(encoding="utf-8").replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    driven = page.with_name(f"driven-{page.name}")
    driven.write_text(text.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    return browse_address(driven.as_uri() + address, page.parent / "profile", size)


def driver(body: str) -> str:
    """The program that runs a script once the page is drawn, and puts what it returns on the console."""
    return _DRIVER.replace("BODY", body)


def browse_address(address: str, profile: Path, size: tuple[int, int] = (1366, 768)) -> tuple[Any, list[str]]:
    """Open an address under which a page with a `driver` stands.

    Args:
        address: With its scheme.
        profile: Folder for what the browser keeps.
        size: Of the window.

    Returns:
        As `browse`.
    """
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += ["--disable-dev-shm-usage", f"--user-data-dir={profile}", "--enable-logging=stderr"]
    command += [f"--window-size={size[0]},{size[1]}", address]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace") as browser:
        alarm = threading.Timer(_SECONDS, browser.kill)
        alarm.start()
        console: list[str] = []
        found = None
        for line in browser.stderr or ():
            if "CONSOLE" not in line:
                continue
            found = re.search(r"FOUND (\S+) END", line)
            if found:
                break
            console.append(line)
        alarm.cancel()
        browser.terminate()
    assert found is not None, console
    result = json.loads(base64.b64decode(found.group(1)))
    assert not (isinstance(result, dict) and "error" in result), result["error"]
    return result, console
