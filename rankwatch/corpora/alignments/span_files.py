"""One file of alignments as spans: TextGrid, CTM, or a tab-separated table of ours."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from rankwatch.corpora.alignments.textgrid import TEXTGRID_BEGINS, read_textgrid
from rankwatch.corpora.corpus import Span
from rankwatch.corpora.formats.tables import read_table
from rankwatch.extraction.inputs.text_files import read_lines, read_text

ENDINGS = (".textgrid", ".ctm", ".tsv")
"""Of files of alignments, in lower case."""

_TIERS = {"phones": "phone", "words": "word", "syllables": "syllable", "segments": "phone"}

Tiers = dict[str, list[Span]]
"""Spans by the tier's name."""


@dataclass(frozen=True)
class Owner:
    """What the spans of a file, or of some of its lines, belong to.

    Attributes:
        name: The name of an utterance or of a recording; None where the file's own name says it.
        channel: Of the recording, where the file has lines of several of its channels; else empty.
    """

    name: str | None = None
    channel: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What the audio may be called that they belong to; of one of several channels never the recording itself."""
        if not self.channel:
            return () if self.name is None else (self.name,)
        channels = dict.fromkeys((self.channel, self.channel.lower()))
        return tuple(f"{self.name}{mark}{channel}" for channel in channels for mark in ("_", "-", ""))


def read_span_file(file: Path, encoding: str = "utf-8") -> dict[Owner, Tiers]:
    """Read one file of alignments; ValueError is raised where it can't be read as what its ending says.

    Args:
        file: A TextGrid; a CTM, whose lines are ``recording channel start length label``; or a table with the columns
            ``tier``, ``start``, ``end`` (seconds) and ``label``, and perhaps ``id``.
        encoding: Its encoding, unless a byte-order mark says another.

    Returns:
        Spans by tier, by what they belong to.
    """
    ending = file.suffix.lower()
    if ending == ".textgrid":
        return {Owner(): _named_alike(read_textgrid(read_text(file, encoding, TEXTGRID_BEGINS)))}
    return _ctm(file, encoding) if ending == ".ctm" else _table(file, encoding)


def tier_name(name: str) -> str:
    """A tier's name in the singular and without the speaker's, as in ``"anna - words"`` of the Montreal Forced Aligner.

    Args:
        name: The name as it was written.

    Returns:
        ``"phone"``, ``"word"``, ``"syllable"``, or the name itself.

    Example:
        >>> tier_name("phones"), tier_name("anna - words"), tier_name("Tones")
        ('phone', 'word', 'Tones')
    """
    last = name.rpartition(" - ")[2].strip().lower()
    return _TIERS.get(last, last if last in _TIERS.values() else name)


def _named_alike(tiers: Tiers) -> Tiers:
    found: Tiers = {}
    for name, spans in tiers.items():
        found.setdefault(tier_name(name), []).extend(spans)
    return found


def _ctm(file: Path, encoding: str) -> dict[Owner, Tiers]:
    """The tier is that which the file's name speaks of, or else the words; channels of a recording are kept apart."""
    tier = next((tier for word, tier in _TIERS.items() if word[:-1] in file.stem.lower()), "word")
    found: dict[str, dict[str, list[Span]]] = defaultdict(lambda: defaultdict(list))
    for number, line in enumerate(read_lines(file, encoding), 1):
        cells = line.split()
        if not cells or line.startswith(";;"):
            continue
        try:
            start, length = float(cells[2]), float(cells[3])
            found[cells[0]][cells[1]].append(Span(start, start + length, cells[4]))
        except (IndexError, ValueError):
            raise ValueError(f"line {number} is none of a CTM: {line[:80]!r}") from None
    return {
        Owner(name, channel if len(channels) > 1 else ""): {tier: spans}
        for name, channels in found.items()
        for channel, spans in channels.items()
    }


def _table(file: Path, encoding: str) -> dict[Owner, Tiers]:
    table = read_table(file, encoding, may_be_empty=True)
    for place, why in table.left_out.items():
        raise ValueError(f"{place}: {why}")
    ids = table.column("id" if "id" in table.columns else None)
    found: dict[Owner, Tiers] = {}
    columns = [table.column(name) for name in ("tier", "start", "end", "label")]
    for number, (name, tier, start, end, label) in enumerate(zip(ids, *columns, strict=True), 1):
        try:
            span = Span(float(start), float(end), label)
        except ValueError:
            raise ValueError(f"row {number} has no times in seconds: {start!r}, {end!r}") from None
        if label:
            found.setdefault(Owner(name or None), {}).setdefault(tier_name(tier), []).append(span)
    return found
