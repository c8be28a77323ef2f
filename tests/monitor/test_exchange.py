"""What processes exchange: a reading of several equals that of one with the same rows."""

import pytest
import torch

from rankwatch.monitor.exchange import exchange, pack, unpack
from rankwatch.monitor.measure import measure
from rankwatch.monitor.reading import Protocol
from rankwatch.numerics import Sample

KEY = ("held_back", "frame", "layers.0")


def _sample(rows, groups, projection=None):
    return Sample.from_rows(rows, groups=groups, projection=projection, seed=3)


def _rows(n=400, d=48, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.arange(1, d + 1) ** -0.5
    groups = torch.randint(0, 1 << 40, (n // 4,), generator=generator).repeat_interleave(4)
    return torch.randn(n, d, generator=generator) * scale + 1.0, groups


def _read(sample):
    protocol = Protocol("held_back", "frame", 100, 4, 0, None)
    return measure(sample, step=1, layer="layers.0", protocol=protocol)


def _through(shares, reasons=None):
    """Every process's view of an exchange among `shares`."""
    reasons = reasons or [""] * len(shares)
    payloads = [pack(share, {}, reason) for share, reason in zip(shares, reasons, strict=True)]
    return [
        exchange(share, {}, reason, gather=lambda mine: payloads) for share, reason in zip(shares, reasons, strict=True)
    ]


@pytest.mark.parametrize("projection", [None, 24])
@pytest.mark.parametrize("cut", [[200, 200], [0, 400], [8, 92, 300]])
def test_several_processes_read_what_one_reads(cut, projection):
    rows, groups = _rows()
    whole = _read(_sample(rows, groups, projection))
    shares = [{KEY: _sample(r, g, projection)} for r, g in zip(rows.split(cut), groups.split(cut), strict=True)]
    readings = [_read(view.samples[KEY]) for view in _through(shares)]
    assert all(r == readings[0] for r in readings)
    assert readings[0].n == 400
    assert readings[0].effective_rank == pytest.approx(whole.effective_rank, rel=1e-9)
    assert readings[0].metrics == pytest.approx(dict(whole.metrics), rel=1e-9, nan_ok=True)


def test_rows_order_does_not_matter_to_the_last_bit():
    rows, groups = _rows()
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(9))
    one = exchange({KEY: _sample(rows, groups)}, {}, "", None).samples[KEY]
    other = exchange({KEY: _sample(rows[order], groups[order])}, {}, "", None).samples[KEY]
    assert _read(one) == _read(other)


def test_a_process_that_failed_is_named_and_left_out():
    rows, groups = _rows()
    views = _through([{KEY: _sample(rows, groups)}, {}], ["", "held_back could not be read: OSError"])
    for view in views:
        assert view.failed == ["process 1: held_back could not be read: OSError"]
        assert view.samples[KEY].n == 400
        assert view.sent > 0


def test_what_one_process_refuses_all_are_quiet_about():
    rows, groups = _rows()
    payloads = [pack({KEY: _sample(rows, groups)}, {}, ""), pack({}, {"held_back": "ambiguous lengths"}, "")]
    for view in (exchange({}, {}, "", gather=lambda mine: payloads) for _ in payloads):
        assert view.refused == {"held_back": "ambiguous lengths"}
        assert not view.samples


def test_a_payload_is_plain_tensors_and_strings():
    rows, groups = _rows()
    samples, refused, error = unpack(pack({KEY: _sample(rows, groups)}, {"a": "b"}, "why"))
    assert (refused, error) == ({"a": "b"}, "why")
    assert torch.equal(samples[KEY].rows, _sample(rows, groups).rows)


def test_the_plain_value_is_rankme_of_the_rows():
    rows, groups = _rows()
    sigma = torch.linalg.svdvals(rows.double())
    p = sigma / sigma.sum()
    expected = torch.exp(-(p * p.log()).sum()).item()
    assert _read(_sample(rows, groups)).rankme == pytest.approx(expected, rel=1e-9)
