"""Labelled speech from a public checkout: digits by many voices, with the phones' times as espeak-ng tells them.

Made by a fresh process (``python spoken_labels.py FOLDER``) and kept in the user's cache, as
`examples/speech_synthesis.py` does and for its reason.
"""

from __future__ import annotations

import csv
import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
sys.path.insert(0, str(EXAMPLES))

from speech_synthesis import VARIANTS, Espeak, cache_folder  # noqa: E402

VERSION = 1
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LANGUAGES = ("en-us", "en-gb-scotland", "en-029")
_PHONEMES, _DONT_EXIT, _SYNCHRONOUS, _PHONEME_EVENT = 1, 0x8000, 2, 7


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


class EspeakWithPhones(Espeak):
    """Remembers when each phone begins, in milliseconds."""

    def __init__(self) -> None:
        super().__init__()
        import espeakng_loader

        data = espeakng_loader.get_data_path().encode()
        self.sample_rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, _DONT_EXIT | _PHONEMES)
        self._library.espeak_SetSynthCallback(self._callback)
        self.phones: list[tuple[int, str]] = []

    def _receive(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: int | None) -> int:
        if events:
            entries = ctypes.cast(events, ctypes.POINTER(_Event))
            i = 0
            while entries[i].type:
                if entries[i].type == _PHONEME_EVENT:
                    self.phones.append((entries[i].audio_position, entries[i].name.decode(errors="replace")))
                i += 1
        return super()._receive(samples, count, events)


def speak(folder: Path) -> None:
    """All digits by all voices into `folder`: FLAC files and ``manifest.csv``. In a fresh process only."""
    espeak = EspeakWithPhones()
    rng = np.random.default_rng(7)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "digit", "speaker", "phones"))
        for number, (language, variant) in enumerate((la, v) for v in VARIANTS for la in LANGUAGES):
            manner = [int(rng.integers(*limits)) for limits in ((135, 200), (25, 75), (30, 75))]
            for digit, word in enumerate(DIGITS):
                espeak.phones.clear()
                samples = espeak.say(word, f"{language}+{variant}", *manner)
                path = f"{number:02d}-{digit}.flac"
                soundfile.write(folder / path, samples, espeak.sample_rate)
                phones = " ".join(f"{start}:{name}" for start, name in espeak.phones if name.strip())
                writer.writerow((path, digit, f"{language}+{variant}", phones))


def spoken_digits() -> Path:
    """The folder, made on first use.

    Raises:
        RuntimeError: If it can't be made.
    """
    folder = cache_folder() / f"zoo-digits-{VERSION}"
    if (folder / "manifest.csv").exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        made = subprocess.run([sys.executable, __file__, place], capture_output=True, text=True, check=False)
        if made.returncode:
            raise RuntimeError(f"digits could not be spoken (pip install espeakng-loader):\n{made.stderr.strip()}")
        try:
            Path(place).rename(folder)
            Path(place).mkdir()
        except OSError:  # another process was sooner
            if not (folder / "manifest.csv").exists():
                raise
    return folder


if __name__ == "__main__":
    speak(Path(sys.argv[1]))
