"""What a user names as an evaluation set: the first training batches, a folder of audio, or a dataloader."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rankwatch.corpora.corpus import Corpus
from rankwatch.corpora.formats.found_format import found_format
from rankwatch.corpora.read_corpus import read_corpus
from rankwatch.extraction.eval_sets.eval_set import EvalForward, EvalSet, loader_eval_set
from rankwatch.extraction.eval_sets.files_of_audio import eval_set_of_corpus
from rankwatch.runtime.argument_kinds import function_of, is_number, is_path, is_text, is_whole, refusal
from rankwatch.runtime.distributed import World, quota

Forward = str | Callable[[Any, Any], Any] | None
"""A function ``f(module, batch)`` that runs one batch through the model, its import path, or None."""


class FirstBatches:
    """The first training batches, copied: the default evaluation set.

    The model trains on these batches as well. Without `forward` the model's own call is recorded together with each
    batch and replayed in eval mode (unmasked, in the model families that are known).

    Args:
        forward: ``f(module, batch)`` that runs one of the loader's batches through the model, or its import path.
            Needed only where the model's own call can't be recorded.

    Raises:
        ValueError: If `forward` is neither a function nor the import path of one.

    Example:
        >>> from rankwatch import FirstBatches, RankWatch
        >>> callback = RankWatch(eval_sets=FirstBatches(forward=lambda module, batch: module.encoder(batch["audio"])))
    """

    default_name = "first_batches"

    def __init__(self, forward: str | Callable[[Any, Any], Any] | None = None) -> None:
        self.forward = eval_forward(type(self).__name__, forward)

    def __repr__(self) -> str:
        return f"FirstBatches(forward={self.forward!r})"


class AudioFolder:
    """A folder of audio files, of which `RowSampling.n_utterances` are chosen at random with a fixed seed.

    They are decoded once, when training begins, and stay in memory (1 MB for 16 s at 16 kHz).

    Args:
        path: The folder; files in folders inside it count as well. Or a manifest of whichever form
            `rankwatch.read_corpus` reads (fairseq, NeMo, SpeechBrain, Kaldi, ...). Read with soundfile: ``pip install
            'rankwatch[audio]'``.
        sample_rate: Samples per second that the model expects; files with another rate are resampled.
        max_seconds: Longer files are cut to this many seconds.
        forward: ``f(module, batch)`` that runs one batch through the model, or its import path; the batch is
            ``(waveforms (B, T) float32, lengths (B,) int64 in samples)``. By default the unmasked forward pass of a
            known model family, or else the recorded call of the model with its audio exchanged.
        encoding: Of a manifest, unless a byte-order mark says another.

    Raises:
        ValueError: If an argument is outside of what it may be.

    Example:
        >>> from rankwatch import AudioFolder, RankWatch
        >>> outside = AudioFolder("/data/other_corpus", sample_rate=8_000, max_seconds=10)
        >>> callback = RankWatch(eval_sets={"inside": "first_batches", "outside": outside})
    """

    default_name = "audio_folder"

    def __init__(
        self,
        path: str | Path,
        sample_rate: int = 16_000,
        max_seconds: float = 15.0,
        forward: str | Callable[[Any, Any], Any] | None = None,
        encoding: str = "utf-8",
    ) -> None:
        if not is_path(path):
            wanted = "a folder or a manifest: a string or a pathlib.Path"
            raise ValueError(refusal(type(self).__name__, "path", path, wanted))
        if not is_text(encoding):
            raise ValueError(refusal(type(self).__name__, "encoding", encoding, "the name of an encoding"))
        self.path = Path(path)
        self.sample_rate, self.max_seconds = checked_audio(type(self).__name__, sample_rate, max_seconds)
        self.forward = eval_forward(type(self).__name__, forward)
        self.encoding = encoding

    def __repr__(self) -> str:
        return (
            f"AudioFolder({str(self.path)!r}, sample_rate={self.sample_rate}, max_seconds={self.max_seconds:g}, "
            f"forward={self.forward!r})"
        )

    def corpus(self) -> Corpus:
        """List the utterances among which is chosen; a subclass may list others.

        A table that lies in a folder of audio doesn't count: all files of the folder do.

        Returns:
            The utterances, in the same order on all processes.
        """
        form = found_format(self.path, self.encoding, labelled=True)
        return read_corpus(self.path, encoding=self.encoding, format=form, open_audio=False)

    def load(self, name: str, *, count: int, seed: int, world: World, first: int = 0) -> EvalSet:
        """Read this process's share of the files.

        A folder that isn't there raises FileNotFoundError, one without audio ValueError.

        Args:
            name: What the user calls the set.
            count: Utterances over all processes.
            seed: Seed of the choice among the files.
            world: This process among the others.
            first: Utterances over all processes that a brief reading takes, the first chosen ones; 0 for none.

        Returns:
            The set, with utterances of like length in one batch.
        """
        eval_set, _ = eval_set_of_corpus(
            self, name, self.corpus(), self.path, count=count, seed=seed, world=world, first=first
        )
        return eval_set


class Loader:
    """The first batches of a dataloader, of which `RowSampling.n_utterances` utterances are copied once.

    Args:
        loader: Anything that can be iterated and yields batches, always the same ones on all processes, which share
            them; or the import path of a function without arguments that returns it (for YAML).
        forward: ``f(module, batch)`` that runs one of its batches through the model, or its import path.

    Raises:
        ValueError: If `loader` can't be iterated, or `forward` is neither a function nor the import path of one.

    Example:
        >>> import torch
        >>> from rankwatch import Loader, RankWatch
        >>> batches = [torch.randn(4, 16_000) for _ in range(8)]
        >>> development = Loader(batches, forward=lambda module, batch: module.encoder(batch))
        >>> callback = RankWatch(eval_sets={"dev": development})
    """

    default_name = "loader"

    def __init__(self, loader: str | Iterable[Any], forward: str | Callable[[Any, Any], Any]) -> None:
        self.forward = eval_forward(type(self).__name__, forward)
        if self.forward is None:
            raise ValueError(
                "Loader(forward=None): a dataloader's batches can only be run by forward=f, where "
                "f(module, batch) runs one of them through the model"
            )
        wanted = "something that can be iterated and yields batches, or the import path of a function that returns it"
        if isinstance(loader, str):
            self.loader: Any = function_of("Loader", "loader", loader, 0, wanted)
            return
        iterable = any(hasattr(loader, method) for method in ("__iter__", "__getitem__"))
        if not iterable or isinstance(loader, (type, bytes, Mapping)):
            raise ValueError(refusal("Loader", "loader", loader, wanted))
        self.loader = loader

    def __repr__(self) -> str:
        return f"Loader({self.loader!r}, forward={self.forward!r})"

    def load(self, name: str, *, count: int, seed: int, world: World, first: int = 0) -> EvalSet:
        """Copy this process's share of the loader's first batches.

        A loader that gives no batch raises ValueError.

        Args:
            name: What the user calls the set.
            count: Utterances over all processes.
            seed: Not used: the loader itself has chosen.
            world: This process among the others.
            first: Not used: the loader's first batches are read first.

        Returns:
            The set, with the loader's own batches.
        """
        batches = self.loader() if callable(self.loader) and not isinstance(self.loader, Iterable) else self.loader
        eval_set = loader_eval_set(name, batches, quota(count, world.rank, world.size), world.rank, world.size)
        eval_set.forward = self.forward
        return eval_set


def eval_forward(owner: str, forward: Forward) -> EvalForward | None:
    """The function that a set's `forward` is or names; ValueError is raised where it is no function of two arguments.

    Args:
        owner: Class of the set, for the message.
        forward: The user's argument.

    Returns:
        The function, or None where none was named.
    """
    wanted = "a function f(module, batch) or its import path"
    return None if forward is None else function_of(owner, "forward", forward, 2, wanted)


def checked_audio(owner: str, sample_rate: int, max_seconds: float) -> tuple[int, float]:
    """Both arguments of a set of audio files, checked.

    Args:
        owner: Class of the set, for the message.
        sample_rate: Samples per second.
        max_seconds: Where longer files are cut.

    Returns:
        `sample_rate` and `max_seconds`, as Python's own numbers.

    Raises:
        ValueError: If one of them isn't a positive number.
    """
    if not is_whole(sample_rate, 1):
        raise ValueError(refusal(owner, "sample_rate", sample_rate, "a whole number of samples per second, at least 1"))
    if not is_number(max_seconds) or not 0 < max_seconds < math.inf:
        raise ValueError(refusal(owner, "max_seconds", max_seconds, "a number of seconds, more than 0"))
    return int(sample_rate), float(max_seconds)
