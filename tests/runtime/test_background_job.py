"""Work beside the training leaves the training's threads, modes and forks alone."""

import os
import threading
import time
import warnings

import pytest
import torch

from rankwatch.runtime.background_job import BackgroundJob, forks


def test_the_result_and_the_error_are_fetched_where_they_are_asked_for():
    assert BackgroundJob(lambda: 7).result() == 7
    job = BackgroundJob(lambda: 1 // 0)
    assert job.wait(300)
    with pytest.raises(ZeroDivisionError):
        job.result()


def test_it_goes_on_while_the_caller_does():
    gate = threading.Event()
    job = BackgroundJob(lambda: gate.wait(300))
    assert not job.wait(0.01)
    gate.set()
    assert job.result()
    assert job.wait()


def test_it_uses_one_core_and_the_training_as_many_as_before():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        seen = BackgroundJob(lambda: (torch.get_num_threads(), torch.is_grad_enabled())).result()
        started = []
        late = threading.Thread(target=lambda: started.append(torch.get_num_threads()))
        late.start()
        late.join()
        assert seen == (1, False)
        assert torch.get_num_threads() == 3
        assert started == [3]  # what threads of the training's begin with
    finally:
        torch.set_num_threads(before)


def test_no_thread_is_left():
    BackgroundJob(lambda: None).result()
    assert not [thread for thread in threading.enumerate() if thread.name == "rankwatch"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_waits_for_the_decomposition_and_the_child_is_free():
    """A dataloader's workers are forked from the training process; a lock that is held then stays held in the child."""
    within, done = threading.Event(), []

    def work():
        with forks.blocked():
            within.set()
            time.sleep(0.3)  # as a rule the fork comes meanwhile
            done.append(1)

    job = BackgroundJob(work)
    assert within.wait(300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: this process has threads
        child = os.fork()
    if child == 0:
        free = BackgroundJob(lambda: forks._lock.acquire(timeout=60)).result()
        os._exit(0 if free and done else 1)
    assert done  # it had to wait
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    job.result()
