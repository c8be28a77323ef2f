"""Labelled clips as an evaluation set, listed in a manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rankwatch.corpora.alignments.attach import NO_FILE as NO_ALIGNMENT_FILE
from rankwatch.corpora.alignments.span_files import tier_name
from rankwatch.corpora.columns import ANY
from rankwatch.corpora.draft import NO_FILE
from rankwatch.corpora.read_corpus import read_corpus
from rankwatch.extraction.eval_sets.eval_set import EvalSet
from rankwatch.extraction.eval_sets.eval_set_sources import checked_audio, eval_forward
from rankwatch.extraction.eval_sets.files_of_audio import eval_set_of_corpus
from rankwatch.extraction.inputs.utterance_keys import fingerprint
from rankwatch.extraction.rows.row_labels import NONE, Labelled, Labels
from rankwatch.runtime.argument_kinds import is_path, is_text, refusal
from rankwatch.runtime.distributed import World


class LabelledSet:
    """Labelled clips: an evaluation set that shows the accuracy of a linear probe next to its effective rank.

    The manifest is a table with a header, or one of the other forms that `rankwatch.read_corpus` reads (NeMo,
    SpeechBrain, fairseq, Kaldi, ...). It is read at once, and all files that it names are looked for.

    Each speaker's rows are classified by a probe that was trained on the other speakers' rows. Without speakers
    (`speaker` is None, or there is only one) utterances are left out in turn instead, which the table at the start
    says: a voice or a channel that the probe recognises then counts as well.

    Args:
        manifest: The table, or another manifest.
        label: Column of each clip's label, probed at utterance level; an empty cell is no label. None: there is none.
        speaker: Column of each clip's speaker, or None. "speaker" is also that which other tools call so (``spk_id``,
            ``utt2spk``).
        alignment: Column of each clip's alignment, for labels at frame level: a TextGrid, or a tab-separated file with
            the columns ``tier``, ``start``, ``end`` (seconds) and ``label``; an empty cell is none.
        alignments: A folder of such files, or a file of them (CTM), which are found by the clips' names, instead of a
            column.
        tier: Which tier of the alignments counts.
        path: Column of each clip's audio; "path" is also that which other tools call otherwise (``audio_filepath``,
            ``wav``). All paths start at the manifest's folder.
        sample_rate: Samples per second that the model expects; clips with another rate are resampled.
        max_seconds: Longer clips are cut to this many seconds.
        forward: ``f(module, batch)`` that runs a batch ``(waveforms (B, T), lengths (B,))`` through the model, or its
            import path; see `rankwatch.AudioFolder`.
        encoding: Of the manifest and the alignments, unless a byte-order mark says another.

    Raises:
        FileNotFoundError: If the manifest, or a file that it names, isn't there.
        ValueError: If the manifest or an alignment is in another encoding, a column is missing, some speakers are,
            there aren't two different labels, or an argument is outside of what it may be.

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
        alignments: str | Path | None = None,
        tier: str = "phone",
        path: str = "path",
        sample_rate: int = 16_000,
        max_seconds: float = 15.0,
        forward: str | Callable[[Any, Any], Any] | None = None,
        encoding: str = "utf-8",
    ) -> None:
        owner = type(self).__name__
        self.arguments = {
            "manifest": Path(manifest) if is_path(manifest) else manifest,
            "label": label,
            "speaker": speaker,
            "alignment": alignment,
            "alignments": Path(alignments) if alignments is not None and is_path(alignments) else alignments,
            "tier": tier,
            "path": path,
            "sample_rate": sample_rate,
            "max_seconds": max_seconds,
            "forward": forward,
            "encoding": encoding,
        }
        columns = {"label": label, "speaker": speaker, "alignment": alignment, "path": path}
        _check_names(owner, manifest, alignments, columns, {"tier": tier, "encoding": encoding})
        self.sample_rate, self.max_seconds = checked_audio(owner, sample_rate, max_seconds)
        self.forward = eval_forward(owner, forward)
        self._manifest = Path(manifest)
        roles = {"label": None if label == speaker else label, "alignment": alignment}
        roles |= {"speaker": ANY if speaker == "speaker" else speaker, "audio": ANY if path == "path" else path}
        self._corpus = read_corpus(manifest, alignments=alignments, encoding=encoding, columns=roles, open_audio=False)
        self._all_there()
        tiers = self._corpus.tiers()
        self._whole = label is not None
        self._aligned = alignment is not None or alignments is not None or (label is None and bool(tiers))
        if not self._whole and not self._aligned:
            raise ValueError(f"{self._manifest}: a labelled set needs a column of labels or one of alignments")
        said = [
            self._number_labels(label, speaker),
            self._number_spans(tier_name(tier)),
            self._number_speakers(speaker),
        ]
        self.words = ", ".join(filter(None, said))

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
        eval_set, clips = eval_set_of_corpus(
            self, name, self._corpus, self._manifest, count=count, seed=seed, world=world, first=first
        )
        known = {}
        for i, audio in clips.items():
            key = int(fingerprint(audio[None]))
            known[key] = Labelled(self._labels[i], self._speakers[i], len(audio) / self.sample_rate, self._spans[i])
        eval_set.labels = Labels(known, whole=self._whole, frames=self._aligned, words=self.words)
        return eval_set

    def __repr__(self) -> str:
        return f"LabelledSet({str(self._manifest)!r})"

    def _all_there(self) -> None:
        """Raise where a file isn't: what a set lacks now is better known before training than after."""
        missing = [what for what, why in self._corpus.left_out.items() if why in (NO_FILE, NO_ALIGNMENT_FILE)]
        if missing:
            raise FileNotFoundError(f"{self._manifest} names {len(missing)} files that aren't there: {missing[0]}, ...")

    def _number_labels(self, label: str | None, speaker: str | None) -> str:
        """Numbers of the utterances' labels, and how many different ones there are, in words."""
        self._labels = [NONE] * len(self._corpus.utterances)
        if label is None:
            return ""
        names = [(one.speaker if label == speaker else one.labels.get(label)) or "" for one in self._corpus.utterances]
        if any(isinstance(name, frozenset) for name in names):
            raise ValueError(f"{self._manifest}: {label!r} has several labels at once, of which a probe takes one")
        number = self._numbers(map(str, names), f"column {label!r}")
        self._labels = [number.get(str(name), NONE) for name in names]
        return f"{len(number)} labels"

    def _number_spans(self, tier: str) -> str:
        """Likewise for the spans of a tier."""
        self._spans: list[list[tuple[float, float, int]]] = [[] for _ in self._corpus.utterances]
        if not self._aligned:
            return ""
        tiers = self._corpus.tiers()
        if tier not in tiers:
            raise ValueError(f"{self._manifest}: no alignment has a tier {tier!r}, there are {list(tiers)}")
        spans = [one.spans.get(tier, ()) for one in self._corpus.utterances]
        number = self._numbers((span.label for some in spans for span in some), f"tier {tier!r}")
        self._spans = [sorted((span.start, span.end, number[span.label]) for span in some) for some in spans]
        return f"{len(number)} labels of tier {tier!r}"

    def _numbers(self, names: Iterable[str], where: str) -> dict[str, int]:
        """A number for each label, the same in all processes."""
        found = sorted({name for name in names if name})
        if len(found) < 2:
            raise ValueError(f"{self._manifest}, {where}: a probe needs two different labels, found {found}")
        return {name: number for number, name in enumerate(found)}

    def _number_speakers(self, speaker: str | None) -> str:
        """Likewise for speakers, and in words what is left out in turn."""
        names = [one.speaker or "" for one in self._corpus.utterances] if speaker is not None else []
        self._speakers = [NONE] * len(self._corpus.utterances)
        if any(names) and not all(names):
            some = f"{names.count('')} of {len(names)} clips have no speaker"
            raise ValueError(f"{self._manifest}: {some}; name them all, or pass speaker=None to split by utterance")
        number = {name: number for number, name in enumerate(sorted(set(names))) if name}
        if len(number) < 2:
            return f"{'one speaker alone' if number else 'no speakers'}: utterances are left out in turn"
        self._speakers = [number[name] for name in names]
        return f"each of {len(number)} speakers is left out in turn"


def _check_names(
    owner: str, manifest: object, alignments: object, columns: Mapping[str, object], words: Mapping[str, object]
) -> None:
    """Raise where a path or a name is none."""
    if not is_path(manifest):
        raise ValueError(refusal(owner, "manifest", manifest, "a manifest: a string or a pathlib.Path"))
    if alignments is not None and not is_path(alignments):
        raise ValueError(refusal(owner, "alignments", alignments, "a folder or a file of alignments, or None"))
    for name, column in columns.items():
        if not is_text(column) and (column is not None or name == "path"):
            wanted = "the name of a column" + (", or None" if name != "path" else "")
            raise ValueError(refusal(owner, name, column, wanted))
    for name, word in words.items():
        if not is_text(word):
            what = "a tier of the alignments" if name == "tier" else "an encoding"
            raise ValueError(refusal(owner, name, word, f"the name of {what}"))
