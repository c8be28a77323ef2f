"""Processes that are threads of the test: they call each other through barriers instead of sockets."""

import threading
from concurrent.futures import ThreadPoolExecutor


class Processes:
    """Makes one `Group` for each of `count` processes, and runs a function in each."""

    def __init__(self, count):
        self.count = count
        self.barrier = threading.Barrier(count, timeout=300)
        self.slots = [None] * count
        self.calls = [[] for _ in range(count)]

    def run(self, function):
        """What `function(group, rank)` gives for each; the first exception, if there was one."""
        with ThreadPoolExecutor(self.count) as pool:
            futures = [pool.submit(function, Member(self, rank), rank) for rank in range(self.count)]
            return [future.exception() or future.result() for future in futures]


class Member:
    """One process's view of the others."""

    def __init__(self, processes, rank):
        self.processes, self.rank = processes, rank

    def _swap(self, call, value):
        self.processes.calls[self.rank].append(call)
        self.processes.slots[self.rank] = value
        self.processes.barrier.wait()
        everyone = list(self.processes.slots)
        self.processes.barrier.wait()
        return everyone

    def all_gather_int(self, value, about):
        return self._swap(about, value)

    def gather_to_rank0(self, payload, about):
        everyone = self._swap("gather_to_rank0", payload)
        return everyone if self.rank == 0 else []

    def broadcast_from_rank0(self, payload):
        return self._swap("broadcast_from_rank0", payload)[0]

    def close(self):
        pass
