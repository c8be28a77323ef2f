"""Whether the TensorBoard that is installed can start at all beside the setuptools that is."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re

_LAST_WITH_PKG_RESOURCES = (2, 20)
"""TensorBoard's last release that imports ``pkg_resources``, which setuptools 82 took out."""


def tensorboard_problem() -> str:
    """What keeps TensorBoard from starting; its event files are written all the same.

    Returns:
        A sentence with what to install, or empty.
    """
    try:
        version = importlib.metadata.version("tensorboard")
    except importlib.metadata.PackageNotFoundError:
        return ""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers > _LAST_WITH_PKG_RESOURCES or importlib.util.find_spec("pkg_resources") is not None:
        return ""
    return (
        f"TensorBoard {version} can't be started here: it needs pkg_resources, which setuptools no longer has since "
        "release 82. pip install 'tensorboard>=2.21' or pip install 'setuptools<82'"
    )
