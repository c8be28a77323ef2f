"""For training loops of one's own: what `rankwatch.lightning` does, called by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from torch import nn

from rankwatch.arguments.loop_arguments import check_loop_arguments
from rankwatch.arguments.settings import RankWatchArguments, Settings
from rankwatch.readings.alarm import Alarm
from rankwatch.readings.codebook_reading import CodebookReading
from rankwatch.readings.reading import Reading
from rankwatch.run.optimizers import learning_rate
from rankwatch.run.session import Session
from rankwatch.runtime.distributed import processes
from rankwatch.runtime.files.run_paths import run_path

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Watch:
    """Watches the effective rank of every layer in a training loop of one's own.

    Readings, alarms, files and promises are those of `rankwatch.RankWatch`. With `torch.distributed` initialised every
    process makes a `Watch` and calls it alike; the first one reports.

    Args:
        model: The whole model, wrapped (DDP, FSDP, torch.compile) or not.
        folder: Where files go, event files for TensorBoard among them; each run needs one of its own.
        optimizer: Its learning rate shows when the warm-up is over, during which much may change in a healthy run.
        writer: A SummaryWriter to use instead of one of our own in `folder`.
        precision: A word for the protocol; readings under different ones are not compared.
        autocast: Gives the context in which the model is trained, for example
            ``lambda: torch.autocast("cuda", torch.bfloat16)``; evaluation sets are run in it.
        arguments: All arguments of `rankwatch.RankWatch`.

    Raises:
        TypeError: For an argument that isn't known, or that had another name before.
        ValueError: For a bad argument, or layers or evaluation sets that aren't there.

    Example:
        >>> import logging, tempfile
        >>> logging.getLogger("rankwatch").addHandler(logging.NullHandler())  # keeps the table out of here
        >>> import torch
        >>> from rankwatch import RowSampling, Watch
        >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        >>> model = torch.nn.TransformerEncoder(layer, 2)
        >>> optimizer = torch.optim.SGD(model.parameters(), 0.1)
        >>> rows = RowSampling(n_utterances=6)
        >>> with Watch(model, tempfile.mkdtemp(), every_n_steps=2, rows=rows) as watch:
        ...     for _ in range(4):
        ...         x = torch.randn(3, 20, 8)
        ...         with watch.batch(x):
        ...             model(x).square().mean().backward()
        ...         optimizer.step()
        ...         if watch.step():  # a collapse, and on_collapse="stop"
        ...             break
        >>> sorted({reading.step for reading in watch.readings})
        [2, 4]
    """

    def __init__(
        self,
        model: nn.Module,
        folder: str | Path = "rankwatch",
        *,
        optimizer: Any = None,
        writer: Any = None,
        precision: str = "32-true",
        autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
        **arguments: Unpack[RankWatchArguments],
    ) -> None:
        owner = type(self).__name__
        self.settings = Settings.of(owner, arguments)
        check_loop_arguments(
            owner,
            model=model,
            folder=folder,
            optimizer=optimizer,
            writer=writer,
            precision=precision,
            autocast=autocast,
        )
        self._steps = 0
        place = run_path(folder)
        self._checkpoints: list[str] = []
        world, group = processes()
        self._session = Session(
            self.settings,
            folder=place,
            world=world,
            group=group,
            precision=precision,
            autocast=autocast,
            rate=lambda: learning_rate([optimizer]),
        )
        self._session.attach(model)
        self._own_writer = writer is None and world.rank == 0
        self._writer = self._session.own_writer() if self._own_writer else writer
        self._session.begin(loggers=[self._writer] if self._writer is not None else [])
        self._open = True
        self._began = False

    @contextlib.contextmanager
    def batch(self, batch: Any) -> Iterator[None]:
        """Around one forward and backward pass; with gradient accumulation around each.

        A batch in which an exception is raised counts for nothing: the loop may skip it and go on.

        Args:
            batch: The loader's batch: utterances' lengths are looked for in it where the model's calls hold none.
        """
        self._began = True
        self._session.batch_starts(batch, self._steps)
        try:
            yield
        except BaseException:
            self._session.batch_ends(batch, failed=True)
            raise
        self._session.batch_ends(batch)

    def before_backward(self) -> None:
        """Draw rows of the training pass now, so that no activation outlives the backward pass.

        Optional, and only where "training_pass" is in `watch`.
        """
        self._session.before_backward()

    def step(self) -> bool:
        """An optimiser step was taken: make a reading if one is due.

        With ``on_collapse="raise"`` a confirmed collapse raises `CollapseError` here.

        Returns:
            Whether to stop: with ``on_collapse="stop"``, once, on all processes alike.
        """
        self._steps += 1
        if not self._began:
            reason = "step() without a batch: put `with watch.batch(batch):` around each forward and backward pass"
            self._session.diagnostics.fail("batch", reason)
        return self._read_if_due()

    def epoch(self) -> bool:
        """One pass over the data is over: the default set is complete, however small. Returns as `step` does."""
        self._session.epoch_ends()
        return self._read_if_due()

    def _read_if_due(self) -> bool:
        stop = self._session.read_if_due(self._steps, self._saved)
        if stop:
            self._session.raise_if_asked(self._steps)
        return stop

    def saved(self, checkpoint: str | Path) -> None:
        """A checkpoint was written; a copy of the last healthy one stays, also if this file is deleted.

        Args:
            checkpoint: Its path.
        """
        self._checkpoints.append(str(checkpoint))

    def _saved(self) -> tuple[list[str], list[str]]:
        return self._checkpoints, []

    @property
    def steps(self) -> int:
        """Optimiser steps taken."""
        return self._steps

    @property
    def readings(self) -> list[Reading]:
        """What was measured, newest last."""
        return list(self._session.readings)

    @property
    def codebook_readings(self) -> list[CodebookReading]:
        """What was measured of quantizers, newest last."""
        return self._session.codebook_readings

    @property
    def alarms(self) -> list[Alarm]:
        """What was found, newest last."""
        return list(self._session.alarms)

    @property
    def metrics(self) -> dict[str, float]:
        """The newest scalars by tag, for a logger of one's own; all are there from the start."""
        return dict(self._session.published)

    def state_dict(self) -> dict[str, Any]:
        """Plain values, small; loads with ``weights_only=True``."""
        return {**self._session.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another run was; before the first batch."""
        self._session.load_state_dict(dict(state))
        self._steps = state["steps"]

    def close(self, error: BaseException | None = None) -> None:
        """The last reading and the summary; no hook, no file and no process group of ours stays open.

        Args:
            error: What broke the run off; then there is no further reading.
        """
        if not self._open:
            return
        self._open = False
        interrupted_by = type(error).__name__ if error is not None else ""
        try:
            self._session.end(self._steps, None if error is not None else self._saved, interrupted_by=interrupted_by)
        finally:
            if self._own_writer and self._writer is not None:
                self._writer.close()
            self._session.close()

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)
