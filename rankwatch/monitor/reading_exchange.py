"""What processes exchange: each its share of the window's rows, to the first one, which tells all what came of it.

One gather and one broadcast for a reading. The rows of a window are as many whatever the number of processes, so what
the first one is sent doesn't grow with it, and only the first one decomposes. Beside that there is one number of each
process at an optimiser step as long as the default evaluation set is being collected, and a few before the first
reading.

A process that failed sends its reason instead of rows; it is left out and named, and the others go on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rankwatch.extraction.rows.row_buffer import Key, Rows
from rankwatch.readings.codebook_usage import CodeUsage
from rankwatch.readings.protocol import Protocol
from rankwatch.runtime.byte_payload import pack, unpack
from rankwatch.runtime.plain_data import from_plain, to_plain

_FEW = ("groups", "rounding", "samples")
"""Parts of `Rows` with one number for each row."""


@dataclass(frozen=True)
class Exchanged:
    """What the first process knows after an exchange.

    Attributes:
        shares: Each process's rows, by source, level and layer.
        protocols: The conditions, by source and level; of the first process that has rows.
        refused: Sources that some process can't read at all, with its reason; all go quiet about them.
        failed: Sentences about processes that failed this time and were left out.
        usages: Each process's use of codes, by quantizer.
        taps: Where layers were tapped, by source and layer; of the first process that knows.
    """

    shares: dict[Key, list[Rows]]
    protocols: dict[tuple[str, str], Protocol]
    refused: dict[str, str]
    failed: list[str]
    usages: Mapping[str, Sequence[CodeUsage]] = field(default_factory=dict)
    taps: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def notes(self) -> dict[str, str]:
        """What the user is told of processes that failed, by subject."""
        if not self.failed:
            return {}
        return {"processes": f"some processes failed and were left out of a reading: {'; '.join(self.failed)}"}


def pack_share(
    shares: Mapping[Key, Rows],
    refused: Mapping[str, str],
    error: str,
    protocols: Iterable[Protocol] = (),
    usages: Mapping[str, CodeUsage] | None = None,
    taps: Mapping[tuple[str, str], str] | None = None,
) -> Tensor:
    """One process's contribution.

    Args:
        shares: Its rows.
        protocols: The conditions under which they were drawn.
        refused: Sources that it can't read at all, with the reason.
        error: What went wrong with others this time, or empty.
        usages: Its use of codes, by quantizer.
        taps: Where layers were tapped, by source and layer.

    Returns:
        (bytes,) uint8, for the first process.
    """
    joined = [torch.cat([getattr(rows, name) for rows in shares.values()]) for name in _FEW if shares]
    joined += [torch.cat([rows.labels.flatten() for rows in shares.values()])] if shares else []
    tensors = [*joined, *(_narrowest(rows.rows) for rows in shares.values())]  # few tensors: each costs time on its way
    about: dict[str, Any] = {
        "protocols": [to_plain(one) for one in protocols],
        "keys": [list(key) for key in shares],
        "labelled": [rows.labels.shape[1] for rows in shares.values()],
        "usages": [[name, to_plain(usage)] for name, usage in (usages or {}).items()],
        "taps": [[*curve, tap] for curve, tap in (taps or {}).items()],
    }
    return pack({"error": error, "refused": dict(refused), **about}, tensors)


def _narrowest(rows: Tensor) -> Tensor:
    """In bfloat16 where that is what the model gave: half the bytes, and nothing is lost."""
    half = rows.bfloat16()
    return half if bool((half.float() == rows).all()) else rows


def merge(payloads: Sequence[Tensor]) -> Exchanged:
    """The shares of all processes."""
    shares: dict[Key, list[Rows]] = defaultdict(list)
    protocols: dict[tuple[str, str], Protocol] = {}
    refused: dict[str, str] = {}
    failed = []
    usages: dict[str, list[CodeUsage]] = defaultdict(list)
    taps: dict[tuple[str, str], str] = {}
    for rank, payload in enumerate(payloads):
        content, tensors = unpack(payload)
        for fields in content["protocols"]:
            protocols.setdefault((fields["source"], fields["level"]), from_plain(Protocol, fields))
        for source, reason in content["refused"].items():
            refused.setdefault(source, reason)
        for name, usage in content["usages"]:
            usages[name].append(from_plain(CodeUsage, usage))
        for source, layer, tap in content["taps"]:
            taps.setdefault((source, layer), tap)
        if content["error"]:
            failed.append(f"process {rank}: {content['error']}")
        if not content["keys"]:
            continue
        *few, labels = tensors[: len(_FEW) + 1]
        rows = tensors[len(_FEW) + 1 :]
        sizes, columns = [len(some) for some in rows], content["labelled"]
        known = torch.split(labels, [size * some for size, some in zip(sizes, columns, strict=True)])
        parts = zip(rows, known, columns, *(torch.split(one, sizes) for one in few), strict=True)
        for (source, level, layer), (some, flat, width, *numbers) in zip(content["keys"], parts, strict=True):
            shares[source, level, layer].append(
                Rows(some.float(), **dict(zip(_FEW, numbers, strict=True)), labels=flat.view(len(some), width))
            )
    kept = {key: share for key, share in shares.items() if key[0] not in refused}
    return Exchanged(kept, protocols, refused, failed, usages, taps)
