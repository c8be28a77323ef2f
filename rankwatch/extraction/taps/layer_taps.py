"""What was found out about layers' taps, by source."""

from __future__ import annotations

from collections.abc import Iterable

from rankwatch.extraction.taps.operations import UNKNOWN

_NO_SOURCE = ""


class LayerTaps:
    """Where each layer was tapped, for each source; what was once found stays, so that a curve has one protocol.

    A source that can't be looked at itself, as the training pass under a compiler, has what was found on others: it is
    the same module.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], str] = {}
        self._less_certain: dict[str, str] = {}
        self._settled: dict[tuple[str, str], str] = {}

    def note(self, source: str, layer: str, tap: str) -> None:
        """Remember what was found, unless something was found before.

        Args:
            source: Name of the evaluation set.
            layer: The layer's path.
            tap: One of `TAPS`.
        """
        if tap != UNKNOWN:
            self._found.setdefault((source, layer), tap)

    def note_by_gradients(self, layer: str, tap: str) -> None:
        """What the gradients of the training pass show; counts where no evaluation set has shown it.

        Args:
            layer: The layer's path.
            tap: One of `TAPS`.
        """
        if tap != UNKNOWN:
            self._less_certain.setdefault(layer, tap)

    def lacks(self, layer: str) -> bool:
        """Whether gradients of the training pass should still be looked at for this layer."""
        return layer not in self._less_certain and all(layer != name for _, name in self._found)

    def of(self, source: str, layer: str) -> str:
        """Where the layer was tapped.

        Args:
            source: Name of the evaluation set, or of the training pass; after it was read.
            layer: The layer's path.

        Returns:
            One of `TAPS`.
        """
        settled = self._settled.get((source, layer))
        if settled is None:
            settled = self._best(source, layer)
            if settled != UNKNOWN:
                self._settled[source, layer] = settled
        return settled

    def of_any(self, layer: str) -> str:
        """Where the layer was tapped in whichever source it was found."""
        return self._best(_NO_SOURCE, layer)

    def _best(self, source: str, layer: str) -> str:
        if (source, layer) in self._found:
            return self._found[source, layer]
        others = (tap for (_, name), tap in self._found.items() if name == layer)
        return next(others, self._less_certain.get(layer, UNKNOWN))

    def of_all(self, curves: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """The taps of curves by source and layer, those that are known."""
        taps = {(source, layer): self.of(source, layer) for source, layer in curves}
        return {key: tap for key, tap in taps.items() if tap != UNKNOWN}
