"""Labelled clips as an evaluation set, listed in a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rankwatch.extraction.eval_sets.eval_set import EvalSet
from rankwatch.extraction.eval_sets.eval_set_sources import checked_audio, eval_forward
from rankwatch.extraction.eval_sets.files_of_audio import eval_set_of_files
from rankwatch.extraction.inputs.text_files import read_text
from rankwatch.extraction.inputs.utterance_keys import fingerprint
from rankwatch.extraction.rows.row_labels import NONE, Labelled, Labels
from rankwatch.runtime.argument_kinds import is_path, is_text, refusal
from rankwatch.runtime.distributed import World


class LabelledSet:
    """Labelled clips: an evaluation set that shows the accuracy of a linear probe next to its effective rank.

    The manifest is comma-separated, with a header; columns that aren't named here don't matter. It is read at once,
    and all files that it names are looked for.

    Each speaker's rows are classified by a probe that was trained on the other speakers' rows. Without speakers
    (`speaker` is None, or there is only one) utterances are left out in turn instead, which the table at the start
    says: a voice or a channel that the probe recognises then counts as well.

    Args:
        manifest: The CSV file.
        label: Column of each clip's label, probed at utterance level; an empty cell is no label. None: there is none.
        speaker: Column of each clip's speaker, or None.
        alignment: Column of each clip's alignment, for labels at frame level: a tab-separated file with the columns
            ``tier``, ``start``, ``end`` (seconds) and ``label``; an empty cell is none.
        tier: Which tier of the alignments counts.
        path: Column of each clip's audio. All paths start at the manifest's folder.
        sample_rate: Samples per second that the model expects; clips with another rate are resampled.
        max_seconds: Longer clips are cut to this many seconds.
        forward: ``f(module, batch)`` that runs a batch ``(waveforms (B, T), lengths (B,))`` through the model, or its
            import path; see `rankwatch.AudioFolder`.

    Raises:
        FileNotFoundError: If the manifest, or a file that it names, isn't there.
        ValueError: If the manifest or an alignment is in another encoding than UTF-8 (or UTF-16 or UTF-32 with a
            byte-order mark), a column is missing, some speakers are, there aren't two different labels, or an argument
            is outside of what it may be.

    Example:
        >>> from rankwatch import LabelledSet, RankWatch
        >>> def with_emotions(manifest):
        ...     return RankWatch(eval_sets={"first_batches": "first_batches", "emotions": LabelledSet(manifest)})
    """

    default_name = "labelled_set"

    def __init__(
        self,
        manifest: str | Path,
        label: str | None = "label",
        speaker: str | None = "speaker",
        *,
        alignment: str | None = None,
        tier: str = "phone",
        path: str = "path",
        sample_rate: int = 16_000,
        max_seconds: float = 15.0,
        forward: str | Callable[[Any, Any], Any] | None = None,
    ) -> None:
        if not is_path(manifest):
            raise ValueError(
                refusal(type(self).__name__, "manifest", manifest, "a CSV file: a string or a pathlib.Path")
            )
        for name, column in {"label": label, "speaker": speaker, "alignment": alignment}.items():
            if column is not None and not is_text(column):
                raise ValueError(refusal(type(self).__name__, name, column, "the name of a column, or None"))
        for name, column in {"path": path, "tier": tier}.items():
            if not is_text(column):
                wanted = "the name of a column" if name == "path" else "the name of a tier of the alignments"
                raise ValueError(refusal(type(self).__name__, name, column, wanted))
        self._manifest = Path(manifest)
        self.sample_rate, self.max_seconds = checked_audio(type(self).__name__, sample_rate, max_seconds)
        self.forward = eval_forward(type(self).__name__, forward)
        if label is None and alignment is None:
            raise ValueError(f"{self._manifest}: a labelled set needs a column of labels or one of alignments")
        rows = _table(self._manifest, csv.excel, [one for one in (path, label, speaker, alignment) if one is not None])
        self._files = self._there([row[path] for row in rows])
        self._whole, self._aligned = label is not None, alignment is not None
        self._labels, self._speakers = [NONE] * len(rows), [NONE] * len(rows)
        self._spans: list[list[tuple[float, float, int]]] = [[] for _ in rows]
        found = []
        if label is not None:
            names = [row[label] for row in rows]
            number = self._all_gather_int(names, f"column {label!r}")
            self._labels = [number.get(name, NONE) for name in names]
            found.append(f"{len(number)} labels")
        if alignment is not None:
            tables = self._alignments([row[alignment] for row in rows], tier)
            number = self._all_gather_int((row["label"] for table in tables for row in table), f"tier {tier!r}")
            self._spans = [_spans(table, number) for table in tables]
            found.append(f"{len(number)} labels of tier {tier!r}")
        speakers = self._speakers_of([row[speaker] for row in rows]) if speaker is not None else {}
        if len(speakers) > 1:
            self._speakers = [speakers[row[str(speaker)]] for row in rows]
            found.append(f"each of {len(speakers)} speakers is left out in turn")
        else:
            found.append(f"{'one speaker alone' if speakers else 'no speakers'}: utterances are left out in turn")
        self.words = ", ".join(found)

    def load(self, name: str, *, count: int, seed: int, world: World, first: int = 0) -> EvalSet:
        """Read this process's share of the clips, with their labels.

        Args:
            name: What the user calls the set.
            count: Utterances over all processes.
            seed: Seed of the choice among the clips.
            world: This process among the others.
            first: Utterances over all processes that a brief reading takes, the first chosen ones; 0 for none.

        Returns:
            The set, with clips of like length in one batch.
        """
        eval_set, clips = eval_set_of_files(self, name, self._files, count=count, seed=seed, world=world, first=first)
        known = {}
        for i, audio in clips.items():
            key = int(fingerprint(audio[None]))
            known[key] = Labelled(self._labels[i], self._speakers[i], len(audio) / self.sample_rate, self._spans[i])
        eval_set.labels = Labels(known, whole=self._whole, frames=self._aligned, words=self.words)
        eval_set.choice += f" of {self._manifest}"
        return eval_set

    def __repr__(self) -> str:
        return f"LabelledSet({str(self._manifest)!r})"

    def _there(self, names: Iterable[str]) -> list[Path]:
        files = [self._manifest.parent / name for name in names]
        missing = [file for file in files if not file.is_file()]
        if missing:
            raise FileNotFoundError(f"{self._manifest} names {len(missing)} files that aren't there: {missing[0]}, ...")
        return files

    def _all_gather_int(self, names: Iterable[str], where: str) -> dict[str, int]:
        """A number for each label, the same in all processes."""
        found = sorted({name for name in names if name})
        if len(found) < 2:
            raise ValueError(f"{self._manifest}, {where}: a probe needs two different labels, found {found}")
        return {name: number for number, name in enumerate(found)}

    def _speakers_of(self, names: Sequence[str]) -> dict[str, int]:
        """Likewise for speakers; none where all cells are empty."""
        if any(names) and not all(names):
            some = f"{names.count('')} of {len(names)} clips have no speaker"
            raise ValueError(f"{self._manifest}: {some}; name them all, or pass speaker=None to split by utterance")
        return {name: number for number, name in enumerate(sorted(set(names))) if name}

    def _alignments(self, names: Sequence[str], tier: str) -> list[list[dict[str, str]]]:
        self._there(name for name in names if name)
        columns = ["tier", "start", "end", "label"]
        tables = [_table(self._manifest.parent / name, _Tabs, columns) if name else [] for name in names]
        tiers = {row["tier"] for table in tables for row in table}
        if tier not in tiers:
            raise ValueError(f"{self._manifest}: no alignment has a tier {tier!r}, there are {sorted(tiers)}")
        return [[row for row in table if row["tier"] == tier] for table in tables]


class _Tabs(csv.excel_tab):
    """A quotation mark is a label's own: it marks stress in X-SAMPA."""

    quoting = csv.QUOTE_NONE


def _table(file: Path, dialect: type[csv.Dialect], columns: Sequence[str]) -> list[dict[str, str]]:
    """All rows; cells that are missing at a line's end are empty."""
    if not file.is_file():
        raise FileNotFoundError(f"labelled set: there is no file {file}")
    reader = csv.DictReader(io.StringIO(read_text(file), newline=""), dialect=dialect, restval="")
    there = list(reader.fieldnames or [])
    lacking = [column for column in columns if column not in there]
    if lacking:
        raise ValueError(f"{file} has no column {lacking[0]!r}; there are {', '.join(there) or 'none'}")
    rows = [{column: row[column].strip() for column in columns} for row in reader]
    if not rows:
        raise ValueError(f"{file} has a header and no rows")
    return rows


def _spans(table: Sequence[Mapping[str, str]], number: Mapping[str, int]) -> list[tuple[float, float, int]]:
    spans = [(float(row["start"]), float(row["end"]), number.get(row["label"], NONE)) for row in table]
    return sorted(spans)
