"""Text files of a user's, whose encoding is never guessed: a wrong guess would change labels in silence."""

from __future__ import annotations

import codecs
import gzip
import shlex
import zlib
from collections.abc import Sequence
from pathlib import Path

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte-order marks; UTF-32's little-endian one begins as UTF-16's does, so it comes first."""

_OF_PYTHON = {"WINDOWS-1252": "cp1252", "UTF-16LE": "utf-16-le", "UTF-16BE": "utf-16-be"}
"""Python's names of encodings, by those of iconv."""

_UNMARKED = ("utf-16-le", "utf-16-be")
_WIDE = ("utf-16", "utf-32")

_GZIP = b"\x1f\x8b"  # with which a file begins that was compressed by gzip, whatever its name


class WrongEncodingError(ValueError):
    """A text file is in another encoding than the one that was named for it."""


def read_text(file: Path, encoding: str = "utf-8", begins: Sequence[str] = ()) -> str:
    """A file in the encoding that is named, or in whatever Unicode encoding its byte-order mark says.

    Args:
        file: The file, perhaps compressed with gzip.
        encoding: Its encoding where it has no byte-order mark.
        begins: What every file of this kind begins with: where one begins so in UTF-16, that is no guess.

    Returns:
        Its text, without the mark. ValueError is raised if no encoding has this name, or what is compressed is broken.

    Raises:
        WrongEncodingError: If it is in another encoding; says where that was found, and how to convert the file.
    """
    content = _content(file)
    shown = [name for mark, name in _MARKS if content.startswith(mark)]
    shown += [name for name in _UNMARKED for text in begins if content.startswith(text.encode(name))]
    encoding = shown[0] if shown else _with_byte_order(_known(encoding), content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise WrongEncodingError(_refusal(file, content, error.start, encoding, bool(shown))) from error
    if "\0" in text and not encoding.startswith(_WIDE):
        raise WrongEncodingError(_refusal(file, content, content.index(0), encoding, False))
    return text


def read_lines(file: Path, encoding: str = "utf-8") -> list[str]:
    """The lines of a text file, which end as lines of files do on Linux, Windows or old Macs, and nowhere else.

    `str.splitlines` also ends them at separators that may stand within a text, such as U+2028 or a form feed.

    Args:
        file: The file.
        encoding: Its encoding, as in `read_text`.

    Returns:
        Its lines without their ends; none for an empty file. ValueError is raised as by `read_text`.
    """
    return split_lines(read_text(file, encoding))


def split_lines(text: str) -> list[str]:
    """The lines of a text, as `read_lines` tells them."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def _content(file: Path) -> bytes:
    content = file.read_bytes()
    if not content.startswith(_GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{file} could not be decompressed ({error}): is the file whole?") from error


def _known(encoding: str) -> str:
    """Python's own name of an encoding."""
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        raise ValueError(f"encoding={encoding!r}: no encoding has this name; try 'utf-8' or 'cp1252'") from None


def _with_byte_order(encoding: str, content: bytes) -> str:
    """UTF-16 without a mark may be of either order, and Python takes this machine's: what is mostly ASCII shows which.

    Returns:
        The encoding, with the order for UTF-16 and UTF-32 alone.
    """
    if encoding not in _WIDE:
        return encoding
    width = 2 if encoding == "utf-16" else 4
    first, last = (content[place::width].count(0) for place in (0, width - 1))
    return f"{encoding}-be" if first > last else f"{encoding}-le"


def _refusal(file: Path, content: bytes, position: int, encoding: str, shown: bool) -> str:
    """Where it goes wrong and what to do; what the encoding may be follows from where zeros are."""
    if shown and encoding != "utf-8-sig":
        return f"{file}: byte {position} is none of {encoding.upper()}, in which it begins; is the file whole?"
    if not encoding.startswith("utf-8"):
        found = f"byte {position} (0x{content[position]:02x}) is none of it"
        return f"{file} is not in {encoding.upper()}: {found}. Name its own encoding, or convert it to UTF-8"
    zeros = content[position : position + 64].count(0)
    guess = "WINDOWS-1252"
    if zeros:
        guess = "UTF-16BE" if content[:2].startswith(b"\0") else "UTF-16LE"
    plain = file.with_suffix("") if file.suffix == ".gz" else file
    new = plain.with_name(f"{plain.stem}.utf8{plain.suffix}")
    source = shlex.quote(str(file))
    convert = f"iconv -f {guess} -t UTF-8"
    convert = f"{convert} {source}" if plain is file else f"gzip -dc {source} | {convert}"
    return (
        f"{file} is not in UTF-8: byte {position} (0x{content[position]:02x}) is none of it. Convert it by "
        f"{convert} > {shlex.quote(str(new))} (with its own encoding instead "
        f"of {guess} where that is another), and name {new.name} instead of it; or, where all text files are in this "
        f"encoding, pass encoding={_OF_PYTHON[guess]!r}"
    )
