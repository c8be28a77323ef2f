"""What one exchange between processes costs: a closed form, and a simulation of its messages that checks it.

The collectives are those that gloo runs on the CPU, as its sources have them (pytorch/gloo: ``allgather.cc``,
``gather.cc``, ``broadcast.cc``, ``transport/tcp/pair.cc``):

- ``all_gather``: a ring. W - 1 rounds, in each of which every process hands one block to its right neighbour, in two
  halves that are both under way at once.
- the shares: everyone sends straight to process 0, which waits for all at once.
- ``broadcast``: a binomial tree. In round i the processes below 2^i each send to the one that is 2^i further on.
- A message of n bytes is n + 96 on the wire: a notice that it is there, and a header, of 48 bytes each. It leaves when
  the receiver has said (48 bytes the other way) that it is waiting for it; one that wasn't yet waiting costs a second
  latency.

A message takes `latency` and its bytes at `bandwidth`. Each process has one link, which carries one message at a time
each way. What isn't in here: the making of the group (a connection between any two processes, once), copies in memory,
and TCP's own headers and hesitations.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rankwatch.runtime.distributed import quota

READY = 48
"""Bytes with which a receiver says that it is waiting."""

ENVELOPE = 96
"""Bytes around a message: the sender's notice and the header."""

NUMBERS = 16
"""Bytes that each process gives to `ProcessGroup.numbers`: a mark and a number."""

SIZE = 8
"""Bytes of the number that is broadcast before the answer."""


@dataclass(frozen=True)
class Network:
    """Seconds that a message is on its way, and bytes per second of each process's link, each way."""

    latency: float
    bandwidth: float

    def seconds(self, cost: Cost) -> float:
        """Of what a closed form counted."""
        return cost.latencies * self.latency + cost.link_bytes / self.bandwidth


@dataclass(frozen=True)
class Cost:
    """Latencies one after another, and bytes one after another through a link: what the slowest way is made of."""

    latencies: float = 0.0
    link_bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.latencies + other.latencies, self.link_bytes + other.link_bytes)


def shares_bytes(world: int, width: int, layers: int, itemsize: int, utterances: int = 512, frames: int = 4) -> int:
    """All packed shares but process 0's own: rows with key and rounding, and some seventy bytes a layer and level."""
    rows = (utterances - quota(utterances, 0, world)) * (frames + 1)
    return layers * (rows * (width * itemsize + 16) + (world - 1) * 2 * 70)


def rounds(world: int) -> int:
    """Rounds of a broadcast, and sends of the first process in it: log2 W, rounded up."""
    return (world - 1).bit_length()


def to_first_cost(world: int, shares: int) -> Cost:
    """Of `ProcessGroup.gather_to_rank0`: the ring of sizes, then the shares, one after another into process 0."""
    if world == 1:
        return Cost()
    ring = Cost(2 * (world - 1), (world - 1) * (NUMBERS + 2 * (ENVELOPE + READY)))
    return ring + Cost(2, shares + (world - 1) * ENVELOPE)


def from_first_cost(world: int, answer: int) -> Cost:
    """Of `ProcessGroup.broadcast_from_rank0`, where the others wait already: the size on its way down, then the answer.

    The answer's first message waits until its receiver, which has had the size, says that it is waiting; further down
    it follows the size closely enough not to wait. Taken is the tree's best order. Whoever has nobody below says first
    that it is waiting, so on a slow link it may be served before one with a whole branch below, and the branch waits.
    """
    if world == 1:
        return Cost()
    return Cost(2, SIZE + ENVELOPE) + Cost(rounds(world), rounds(world) * (answer + ENVELOPE))


def received_by_first(world: int, shares: int) -> int:
    """Bytes that arrive at process 0."""
    if world == 1:
        return 0
    ring = (world - 1) * (NUMBERS + 2 * (ENVELOPE + READY))
    return ring + shares + (world - 1) * ENVELOPE + 2 * rounds(world) * READY


def sent_by_others(world: int, shares: int, answer: int) -> float:
    """Bytes that every other process sends, on average: those in the middle of the broadcast's tree send more."""
    if world == 1:
        return 0.0
    ring = (world - 1) * (NUMBERS + 2 * (ENVELOPE + READY))
    passed_on = (world - 1 - rounds(world)) / (world - 1) * (answer + SIZE + 2 * ENVELOPE)
    return ring + shares / (world - 1) + ENVELOPE + 2 * READY + passed_on


Step = tuple[str, int, int]
"""("send" or "recv", the other process, bytes), or ("sent" or "received", 0, 0), which wait for one of them."""

Program = Generator[Step, None, None]


def all_gather(rank: int, world: int, block: int = NUMBERS) -> Program:
    """One process's part of gloo's ring."""
    right, left = (rank + 1) % world, (rank - 1) % world
    halves = (block // 2, block - block // 2)
    for index in range(2 * (world - 1)):
        if index >= 2:
            yield "sent", 0, 0
            yield "received", 0, 0
        yield "send", right, halves[index % 2]
        yield "recv", left, 0
    for _ in range(2):
        yield "sent", 0, 0
        yield "received", 0, 0


def gather(rank: int, world: int, sizes: Sequence[int]) -> Program:
    """One process's part of the way to process 0."""
    if rank == 0:
        for other in range(1, world):
            yield "recv", other, 0
        for _ in range(1, world):
            yield "received", 0, 0
    else:
        yield "send", 0, sizes[rank]
        yield "sent", 0, 0


def broadcast(rank: int, world: int, size: int) -> Program:
    """One process's part of gloo's tree from process 0."""
    sends = 0
    for bit in range(rounds(world)):
        if rank >> (bit + 1):  # not yet its turn
            continue
        other = rank ^ (1 << bit)
        if other >= world:
            continue
        if rank & (1 << bit):
            yield "recv", other, 0
            yield "received", 0, 0
        else:
            yield "send", other, size
            sends += 1
    for _ in range(sends):
        yield "sent", 0, 0


def broadcast_answer(rank: int, world: int, answer: int) -> Program:
    """`ProcessGroup.broadcast_from_rank0`."""
    yield from broadcast(rank, world, SIZE)
    yield from broadcast(rank, world, answer)


@dataclass
class Process:
    """One process in the simulation."""

    program: Program
    done: float = 0.0
    waits_for: str = ""
    out_free: float = 0.0
    in_free: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    completed: dict[str, int] = field(default_factory=lambda: {"sent": 0, "received": 0})


class Simulation:
    """Messages among processes, event by event.

    Args:
        programs: What each process does.
        network: How long messages take.
        starts: When each process begins; all at 0 by default.
    """

    def __init__(self, programs: Sequence[Program], network: Network, starts: Sequence[float] | None = None) -> None:
        self.processes = [Process(program) for program in programs]
        self._network = network
        self._events: list[tuple[float, int, str, Any]] = []
        self._count = 0
        self._waiting: dict[tuple[int, int], deque[int]] = defaultdict(deque)  # sends, until the receiver is ready
        self._ready: dict[tuple[int, int], int] = defaultdict(int)
        for rank in range(len(programs)):
            self._at(starts[rank] if starts is not None else 0.0, "go", rank)

    def run(self) -> list[float]:
        """When each process was done."""
        while self._events:
            now, _, kind, what = heapq.heappop(self._events)
            if kind == "arrives":  # its first byte; the last one when the link has taken all of it
                one = self.processes[what[1]]
                one.in_free = max(now, one.in_free) + what[2] / self._network.bandwidth
                one.bytes_received += what[2]
                self._at(one.in_free, what[3], what)
            elif kind == "readiness":
                pair = what[1], what[0]
                self._ready[pair] += 1
                self._match(pair, now)
            else:
                rank = what[1] if kind == "received" else what
                one = self.processes[rank]
                if kind != "go":
                    one.completed[kind] += 1
                if kind in ("go", one.waits_for):
                    self._go_on(rank, now)
        assert not any(one.waits_for for one in self.processes), "a deadlock"
        return [one.done for one in self.processes]

    def _at(self, time: float, kind: str, what: Any) -> None:
        """Put an event on the list; of those at one time the older comes first."""
        self._count += 1
        heapq.heappush(self._events, (time, self._count, kind, what))

    def _go_on(self, rank: int, now: float) -> None:
        """Until it must wait."""
        one = self.processes[rank]
        if one.waits_for:
            one.completed[one.waits_for] -= 1
            one.waits_for = ""
        for verb, other, size in one.program:
            if verb == "send":
                self._waiting[rank, other].append(size)
                self._match((rank, other), now)
            elif verb == "recv":
                self._put(rank, other, READY, "readiness", now)
            elif one.completed[verb]:
                one.completed[verb] -= 1
            else:
                one.waits_for = verb
                return
        one.done = now

    def _match(self, pair: tuple[int, int], now: float) -> None:
        """A message leaves if there is one and its receiver waits for it."""
        if self._waiting[pair] and self._ready[pair]:
            self._ready[pair] -= 1
            size = self._waiting[pair].popleft()
            self._put(*pair, size + ENVELOPE, "received", now)
            self._at(self.processes[pair[0]].out_free, "sent", pair[0])

    def _put(self, source: int, target: int, size: int, becomes: str, now: float) -> None:
        """Bytes onto the sender's link, as soon as it is free."""
        one = self.processes[source]
        start = max(now, one.out_free)
        one.out_free = start + size / self._network.bandwidth
        one.bytes_sent += size
        self._at(start + self._network.latency, "arrives", (source, target, size, becomes))
