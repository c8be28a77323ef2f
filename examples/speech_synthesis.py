"""Speech without a download: some hundred utterances by many voices, spoken by espeak-ng.

The PyPI package ``espeakng-loader`` carries the espeak-ng library and its voices (GPL-3). It is loaded at run
time through ctypes and only here. espeak-ng isn't deterministic per utterance within one process, but the same
sequence of calls in a fresh process gives the same samples bit for bit: so a corpus is always made by a fresh
process (``python speech_synthesis.py FOLDER``) and kept in the user's cache.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

VERSION = 1
"""Raised whenever the same arguments would give another corpus."""

# Voice of the language, its words, and carrier sentences to put them into.
LANGUAGES: dict[str, tuple[str, str]] = {
    "en-us": (
        "water house seven river Monday garden window paper music yellow market hundred",
        "{}|Please say {} once more.|The {} was never there before.|I thought that {} and {} would do.",
    ),
    "en-gb-scotland": (
        "water house seven river Monday garden window paper music yellow market hundred",
        "{}|Have you seen the {} today?|First comes {}, then {}.|Nobody talks about {} any more.",
    ),
    "de": (
        "Wasser Haus sieben Fluss Montag Garten Fenster Papier Musik Schlüssel Markt hundert",
        "{}|Sag noch einmal {}.|Das Wort {} steht auf der Tafel.|Heute gibt es {} und morgen {}.",
    ),
    "fr": (
        "eau maison sept rivière lundi jardin fenêtre papier musique jaune marché cent",
        "{}|Dites encore une fois {}.|Je ne connais pas le mot {}.|D'abord {}, ensuite {}.",
    ),
    "es": (
        "agua casa siete río lunes jardín ventana papel música amarillo mercado ciento",
        "{}|Repite la palabra {}.|No hay {} en la calle.|Primero {}, luego {}.",
    ),
    "it": (
        "acqua casa sette fiume lunedì giardino finestra carta musica giallo mercato cento",
        "{}|Ripeti la parola {}.|Non vedo {} da molto tempo.|Prima {}, poi {}.",
    ),
}
# None of those with breath (f2, f3): its noise differs from process to process.
VARIANTS = ["m1", "f1", "m3", "belinda", "m7", "f4", "Andy", "Annie", "Michael", "linda", "max", "anika"]

_SYNCHRONOUS, _DONT_EXIT, _UTF8 = 2, 0x8000, 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class Utterance:
    """One row of the manifest: the file and what may be probed for."""

    path: str
    speaker: str
    language: str
    word: str
    transcript: str


class Espeak:
    """The library, opened once for this process.

    Raises:
        RuntimeError: If the library doesn't load, or doesn't know a voice.
    """

    def __init__(self) -> None:
        import espeakng_loader

        library = espeakng_loader.load_library()
        if library is None:
            raise RuntimeError("espeakng-loader is installed, but its library doesn't load on this system")
        self._library = library
        data = espeakng_loader.get_data_path().encode()
        self.sample_rate: int = library.espeak_Initialize(_SYNCHRONOUS, 0, data, _DONT_EXIT)
        if self.sample_rate <= 0:
            raise RuntimeError("espeak-ng could not be initialised")
        self._pieces: list[npt.NDArray[np.int16]] = []
        # The library keeps the pointer: it must live as long as this object.
        self._callback = _Callback(self._receive)
        library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: int | None) -> int:
        if samples and count:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, text: str, voice: str, rate: int, pitch: int, pitch_range: int) -> npt.NDArray[np.int16]:
        """Samples (n,) at `sample_rate`; `voice` is a language and a variant, ``"en-us+f3"``."""
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice {voice!r}")
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._pieces.clear()
        encoded = text.encode()
        self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, _UTF8, None, None)
        return np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.int16)


def script(n_utterances: int, seed: int) -> Iterator[tuple[Utterance, str, tuple[int, int, int]]]:
    """What is said by whom: the manifest's row, the voice, and (rate, pitch, pitch range).

    Each speaker is a language, a variant of its voice, and its own rate, pitch and liveliness; the rate varies a
    little from sentence to sentence, as with people.

    Yields:
        For each utterance its row, its voice, and how it is spoken.
    """
    rng = np.random.default_rng(seed)
    speakers = [(language, variant) for variant in VARIANTS for language in LANGUAGES]
    manner = {s: (rng.integers(135, 215), rng.integers(25, 75), rng.integers(30, 75)) for s in speakers}
    for index in range(n_utterances):
        language, variant = speakers[index % len(speakers)]
        words, carriers = (part.split(separator) for part, separator in zip(LANGUAGES[language], " |", strict=True))
        carrier = carriers[rng.integers(len(carriers))]
        first, second = rng.choice(len(words), 2, replace=False)
        text = carrier.format(words[first], words[second])
        rate, pitch, liveliness = (int(value) for value in manner[language, variant])
        rate += int(rng.integers(-12, 13))
        row = Utterance(f"{index:04d}.flac", f"{language}-{variant}", language, words[first], text)
        yield row, f"{language}+{variant}", (rate, pitch, liveliness)


def synthesize(folder: Path, n_utterances: int, seed: int) -> None:
    """Speak the script into `folder`: FLAC files and ``manifest.csv``. Call it in a fresh process only."""
    espeak = Espeak()
    rows = []
    for row, voice, manner in script(n_utterances, seed):
        samples = espeak.say(row.transcript, voice, *manner)
        soundfile.write(folder / row.path, samples, espeak.sample_rate)
        rows.append(row)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(Utterance))
        writer.writerows(astuple(row) for row in rows)


def cache_folder() -> Path:
    """The user's cache (``RANKWATCH_CACHE``, ``XDG_CACHE_HOME`` or ``~/.cache``), else the temporary folder."""
    if "RANKWATCH_CACHE" in os.environ:
        return Path(os.environ["RANKWATCH_CACHE"])
    parent = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        parent = Path(tempfile.gettempdir())
    return (parent if os.access(parent, os.W_OK) else Path(tempfile.gettempdir())) / "rankwatch"


def synthetic_speech(n_utterances: int = 600, seed: int = 0) -> Path:
    """Folder of `n_utterances` FLAC files and their ``manifest.csv``, made on first use and cached.

    About 600 x real time on one core: some seconds for the default.

    Returns:
        The folder.

    Raises:
        RuntimeError: With espeak-ng's own message, if the synthesis fails.
        OSError: If the cache can't be written.
    """
    key = hashlib.sha256(repr((VERSION, n_utterances, seed, LANGUAGES, VARIANTS)).encode()).hexdigest()[:12]
    folder = cache_folder() / f"speech-{key}"
    if (folder / "manifest.csv").exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Made next to its place and moved there whole: neither a crash nor a second process leaves half a corpus.
    with tempfile.TemporaryDirectory(dir=folder.parent) as workplace:
        command = [sys.executable, __file__, workplace, str(n_utterances), str(seed)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise RuntimeError(
                "speech could not be synthesised (pip install espeakng-loader, or give --data.folder):\n"
                + result.stderr.strip()
            )
        try:
            Path(workplace).rename(folder)
            Path(workplace).mkdir()  # for TemporaryDirectory to clean up
        except OSError:
            if not (folder / "manifest.csv").exists():
                raise
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=synthesize.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("n_utterances", type=int)
    parser.add_argument("seed", type=int)
    arguments = parser.parse_args()
    synthesize(arguments.folder, arguments.n_utterances, arguments.seed)
