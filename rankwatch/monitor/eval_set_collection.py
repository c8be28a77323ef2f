"""The evaluation sets of a run: the named ones read at its start, the first batches collected during training."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from rankwatch.arguments.settings import Settings
from rankwatch.extraction.eval_sets.broken_recordings import broken_recordings
from rankwatch.extraction.eval_sets.eval_runner import EvalRunner
from rankwatch.extraction.eval_sets.eval_set import EvalSet
from rankwatch.extraction.eval_sets.eval_set_sources import FirstBatches
from rankwatch.extraction.eval_sets.first_batches import FirstBatchCollector
from rankwatch.extraction.eval_sets.recorded_caller import recorded_call
from rankwatch.extraction.execution.preserved_model import preserved_random_state
from rankwatch.extraction.hooks.replayable_calls import recorder_for, replay_advice
from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.runtime.distributed import World, quota


class EvalSetCollection:
    """All evaluation sets, and what runs them.

    A folder that isn't there raises FileNotFoundError, one without audio ValueError.

    Args:
        root: The whole model.
        layers: Watched layers.
        settings: The user's arguments.
        world: This process among the others.
        all_gather_int: Gives one number of each process from one's own, and what it is about.
        disable_source: Called with a set's name and the reason where it can't be read at all.
        warn_once: Warns about a subject, once.
        outermost: Gives what training calls: the model or a wrapper around it, which may come later.
    """

    def __init__(
        self,
        root: nn.Module,
        layers: Sequence[WatchedLayer],
        settings: Settings,
        *,
        world: World,
        all_gather_int: Callable[[int, str], list[int]],
        disable_source: Callable[[str, str], None],
        warn_once: Callable[[str, str], None],
        outermost: Callable[[], nn.Module] | None = None,
    ) -> None:
        self._root = root
        self._layers = layers
        self._settings = settings
        self._all_gather_int = all_gather_int
        self._disable_source = disable_source
        self._warn_once = warn_once
        self._outermost = outermost
        self._wanted = quota(settings.rows.n_utterances, world.rank, world.size)
        count = settings.rows.n_utterances
        first = settings.rows.brief_of(count)
        with preserved_random_state():  # iterating a user's dataloader draws seeds from the global generator
            self.sets: dict[str, EvalSet] = {
                name: source.load(name, count=count, seed=settings.rows.seed, world=world, first=first)
                for name, source in settings.sets.items()
                if not isinstance(source, FirstBatches)
            }
        for eval_set in self.sets.values():
            self._leave_out_broken(eval_set)
        self.notes: list[str] = [one.describe() for one in self.sets.values()]
        self.runner: EvalRunner | None = None
        """How the sets are run; None as long as training calls are being recorded."""
        self.recorded: EvalSet | None = None
        """The one call that other sets' audio is put into, where no set holds it."""
        self._no_new_utterances = False
        self._epoch_is_whole = True
        self._collector = self._new_collector()

    def _new_collector(self) -> FirstBatchCollector | None:
        """What collects the first batches if they are to be a set; else one call, to put other sets' audio into.

        Where every set has a `forward` of its own, no call is wanted.

        Returns:
            The collector, or None where neither is wanted.
        """
        name = self._settings.first_batches_set
        calls_wanted = any(source.forward is None for source in self._settings.sets.values())
        new_recorder = functools.partial(recorder_for, self._root, self._layers) if calls_wanted else None
        if name is not None and name not in self.sets:
            eval_set = EvalSet(name, forward=self._settings.sets[name].forward)
            return FirstBatchCollector(eval_set, self._wanted, new_recorder)
        if calls_wanted:
            return FirstBatchCollector(EvalSet(""), 1, new_recorder)
        self.runner = EvalRunner(self._root, None, outermost=self._outermost)
        return None

    @property
    def complete(self) -> bool:
        """Whether all sets are there; before that the first batches are being collected."""
        return self._collector is None

    @property
    def first_batches(self) -> EvalSet | None:
        """The first batches, once they are complete."""
        return self.sets.get(self._settings.first_batches_set or "")

    def read_briefly(self, sources: Sequence[str]) -> list[str]:
        """Without labelled sets, whose probes want all of their rows and move slowly; the primary is always read.

        Args:
            sources: Names of sources, evaluation sets or not.

        Returns:
            Those that a brief reading shows.
        """
        labelled = {name for name, one in self.sets.items() if one.labels is not None}
        return [name for name in sources if name not in labelled or name == self._settings.sources[0]]

    def batch_starts(self, batch: Any) -> None:
        """Before a training batch's forward pass.

        Args:
            batch: As the loader gave it.
        """
        if self._collector is not None and not self._no_new_utterances:
            self._collector.batch_starts(batch)

    def batch_ends(self, batch: Any) -> None:
        """After a training batch.

        Args:
            batch: As the loader gave it.
        """
        if self._collector is not None and not self._no_new_utterances:
            self._collector.batch_ends(batch)

    def drop_batch(self) -> None:
        """An exception was raised in a training batch: what was recorded of it counts for nothing."""
        if self._collector is not None and self._collector.recorder is not None:
            self._collector.recorder.forget()

    def epoch_ends(self) -> None:
        """No utterance will be new from here on, if this was a whole epoch."""
        self._no_new_utterances = self._no_new_utterances or self._epoch_is_whole
        self._epoch_is_whole = True

    def mark_epoch_incomplete(self) -> None:
        """The epoch that ends next began before a restart; it may be over already."""
        self._epoch_is_whole = False

    def finish_together(self) -> None:
        """After an optimiser step: finish, if no process wants any further batch.

        All processes stop collecting together, so that their first reading is at one step. Not after each batch or at
        an epoch's end: processes may have different numbers of batches, and meet each other when they take a step.
        """
        if self._collector is None:
            return
        wants_more = not (self._collector.full or self._no_new_utterances)
        if max(self._all_gather_int(int(wants_more), "who is still collecting")) == 0:
            self.finish()

    def finish(self) -> None:
        """The first batches stay as they are from now on; on all processes at once."""
        collector, self._collector = self._collector, None
        if collector is None:
            return
        collector.close()
        backbone = collector.recorder.backbone if collector.recorder is not None else None
        self.runner = EvalRunner(self._root, backbone, collector.template, self._outermost)
        eval_set = collector.eval_set
        self.recorded = recorded_call(
            self._root, backbone, collector.template, eval_set, needed=self.runner.puts_audio_into_calls
        )
        in_all = sum(self._all_gather_int(eval_set.utterances, "utterances collected"))
        batches = self._all_gather_int(len(eval_set.batches), "batches collected")
        if eval_set.name:
            self._add_first_batches(eval_set, in_all, [rank for rank, count in enumerate(batches) if not count])

    def _add_first_batches(self, eval_set: EvalSet, in_all: int, without: Sequence[int]) -> None:
        """The set as it was collected, unless it can't be read.

        Args:
            eval_set: This process's part.
            in_all: Utterances on all processes.
            without: Processes that have no batch at all.
        """
        if in_all and without:
            self._disable_source(
                eval_set.name,
                f"no call of the model could be recorded on process {without[:4]}, and all processes have to make "
                f"equally many passes; {replay_advice(self._root)}",
            )
        elif in_all == 0:
            self._disable_source(
                eval_set.name,
                "no module that contains all watched layers and what feeds them is called as a module with the "
                "loader's audio or features, nor do the blocks get the front end's output as it is, so no call can "
                f"be recorded and replayed; {replay_advice(self._root)}",
            )
        else:
            self._leave_out_broken(eval_set)
            self.sets[eval_set.name] = eval_set
            self.notes.append(eval_set.describe())
            asked = self._settings.rows.n_utterances
            if in_all < asked:
                self.notes.append(f"{eval_set.name} holds {in_all} of the {asked} utterances asked for: no others came")

    def _leave_out_broken(self, eval_set: EvalSet) -> None:
        """One constant recording among good ones would decide what is read of all of them."""
        broken = broken_recordings(eval_set)
        if not broken:
            return
        few = 2 * len(broken) <= eval_set.utterances  # else it is what the set is like
        names = "; ".join(list(broken.values())[:5]) + (f"; and {len(broken) - 5} more" if len(broken) > 5 else "")
        number = "one recording" if len(broken) == 1 else f"{len(broken)} of {eval_set.utterances} recordings"
        result = "left out of all readings, which it would decide alone" if few else "broken, and counted all the same"
        trained_on = eval_set.name == self._settings.first_batches_set
        advice = "the model is trained on such audio, too" if trained_on else "the training itself is not affected"
        eval_set.left_out = broken if few else {}
        verb = "is" if len(broken) == 1 else "are"
        self._warn_once(
            f"broken recordings of {eval_set.name}", f"{eval_set.name}: {number} {verb} {result}: {names}; {advice}"
        )

    def restore(self, eval_set: EvalSet | None) -> bool:
        """Use the first batches from before a restart instead of collecting new ones; all processes call this.

        Args:
            eval_set: This process's part of them, or None where it is lost.

        Returns:
            Whether they are used: only if no process has lost its part.
        """
        if min(self._all_gather_int(int(eval_set is not None), "a saved evaluation set")) == 0 or eval_set is None:
            return False
        if self._collector is not None:
            self._collector.close()
        source = self._settings.sets.get(eval_set.name)
        eval_set.forward = source.forward if source is not None else None
        self._leave_out_broken(eval_set)
        self.sets[eval_set.name] = eval_set
        self._collector = self._new_collector()
        return True

    def close(self) -> None:
        """Take every hook away."""
        if self._collector is not None:
            self._collector.close()
