"""The learning rate over a run."""

import pytest
import torch
from schedule import warm_up_and_decay


def rates(warm_up, total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = warm_up_and_decay(optimizer, warm_up, total)["lr_scheduler"]["scheduler"]
    seen = []
    for _ in range(total + 1):
        seen.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return seen


def test_it_rises_to_the_peak_and_falls_to_a_tenth():
    seen = rates(0.25, 100)
    assert seen[:25] == pytest.approx([2.0 * (i + 1) / 25 for i in range(25)])
    assert max(seen) == 2.0
    assert seen[25:] == sorted(seen[25:], reverse=True)
    assert seen[100] == pytest.approx(0.2)


def test_no_warm_up_and_a_run_of_one_step_are_fine():
    assert rates(0.0, 10)[0] == 2.0
    assert rates(0.5, 1)[0] == 2.0


@pytest.mark.parametrize("bad", [-0.1, 1.0])
def test_warm_up_is_a_share(bad):
    with pytest.raises(ValueError, match="share of the run"):
        rates(bad, 10)
