"""Kaldi's data directories: wav.scp, segments, utt2spk, text, and whatever else is known of utterances and speakers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rankwatch.corpora.columns import as_seconds
from rankwatch.corpora.corpus import Utterance
from rankwatch.corpora.draft import NO_PATH, SAME_ID, Draft, base_folder
from rankwatch.corpora.formats.records import times
from rankwatch.extraction.inputs.text_files import read_lines

PIPE = "wav.scp has a command instead of a file (a pipe), and none is run: write its output to files and name these"
NO_SEGMENT = "a line of segments is an utterance, a recording, a start and an end"
NO_RECORDING = "wav.scp does not name its recording"
ARCHIVE = "it lies in a Kaldi archive, which isn't read: write it to a file of audio"


def read_kaldi(draft: Draft, folder: Path, root: Path | None = None) -> None:
    """Read a data directory.

    ``utt2lang``, ``utt2anything`` and ``spk2gender``, ``spk2anything`` are labels, by what follows the 2.

    Args:
        draft: What is filled.
        folder: The directory.
        root: Where relative paths begin; by default whichever of the directory, its parents and the working directory
            has the first files.
    """
    recordings = _recordings(draft, folder)
    plain = [name for name in recordings.values() if name]
    base = root or base_folder(plain, [folder, *folder.resolve().parents[:4], Path.cwd()])
    texts, speakers = _map(draft, folder / "text"), _map(draft, folder / "utt2spk")
    of_utterances, of_speakers = _maps(draft, folder, "utt2"), _maps(draft, folder, "spk2")
    for name, recording, start, end in _segments(draft, folder, recordings):
        audio = recordings.get(recording)
        if audio is None:
            draft.leave_out(name, NO_RECORDING)
        elif audio:
            speaker = speakers.get(name) or None
            labels = {label: values[name] for label, values in of_utterances.items() if values.get(name)}
            labels |= {
                label: values[speaker] for label, values in of_speakers.items() if speaker and values.get(speaker)
            }
            draft.add(name, Utterance(name, base / audio, start, end, speaker, texts.get(name) or None, labels))
    known = {utterance.id for utterance in draft.utterances}
    for name in texts.keys() - known - draft.left_out.keys():
        draft.leave_out(f"text of {name}", "labels without audio")


def _recordings(draft: Draft, folder: Path) -> dict[str, str]:
    """Paths by recording; empty for those that can't be read, which are left out."""
    found = _map(draft, folder / "wav.scp")
    for name, path in found.items():
        offset = path.rpartition(":")[2]
        if not path:
            draft.leave_out(f"recording {name}", NO_PATH)
        elif path.endswith("|") or path.startswith("|") or path == "-":
            draft.leave_out(f"recording {name}", PIPE)
            found[name] = ""
        elif ":" in path and (offset.isdigit() or path.endswith("]")) and not (folder / path).exists():
            draft.leave_out(f"recording {name}", ARCHIVE)
            found[name] = ""
    return found


def _segments(
    draft: Draft, folder: Path, recordings: dict[str, str]
) -> Iterator[tuple[str, str, float | None, float | None]]:
    """Utterance, recording, start and end; without the file each recording is one utterance."""
    if not (folder / "segments").is_file():
        yield from ((name, name, None, None) for name in recordings)
        return
    for name, line in _lines(draft, folder / "segments"):
        cells = line.split()
        if len(cells) < 3:
            draft.leave_out(f"segments: {name}", NO_SEGMENT)
            continue
        try:
            end = as_seconds(cells[2]) or 0.0
            yield name, cells[0], *times(cells[1], None if end < 0 else end, None)
        except ValueError as error:
            draft.leave_out(f"segments: {name}", str(error))


def _maps(draft: Draft, folder: Path, prefix: str) -> dict[str, dict[str, str]]:
    """Labels of utterances or speakers by name; what is known otherwise is no label."""
    files = sorted(file for file in folder.glob(f"{prefix}*") if file.is_file())
    names = [file.name.removeprefix(prefix) for file in files]
    other = ("spk", "utt", "dur", "num_frames", "num_samples", "uniq")
    return {name: _map(draft, file) for name, file in zip(names, files, strict=True) if name not in other and name}


def _map(draft: Draft, file: Path) -> dict[str, str]:
    """The rest of each line by its first word; of a word that is there twice the first line counts."""
    found: dict[str, str] = {}
    for name, rest in _lines(draft, file):
        if name in found:
            draft.leave_out(f"{file.name}: {name}", SAME_ID)
        found.setdefault(name, rest)
    return found


def _lines(draft: Draft, file: Path) -> list[tuple[str, str]]:
    """The first word and the rest of each line; none where there is no such file."""
    if not file.is_file():
        return []
    lines = [line.split(None, 1) for line in read_lines(file, draft.encoding)]
    return [(line[0], line[1].strip() if len(line) > 1 else "") for line in lines if line]
