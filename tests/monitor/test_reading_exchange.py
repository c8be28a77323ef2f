"""What processes exchange: plain bytes, merged into what one process with the same rows would have."""

import pytest
import torch

from rankwatch.extraction.rows.row_buffer import Rows
from rankwatch.extraction.rows.row_labels import unlabelled
from rankwatch.extraction.rows.row_sampling import whole_sample
from rankwatch.monitor.reading_exchange import merge, pack_share
from rankwatch.numerics import Sample
from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading_from_sample import measure
from rankwatch.runtime.byte_payload import pack, unpack

KEY = ("first_batches", "frame", "layers.0")


def _rows_of(rows, groups):
    return Rows(rows, groups, torch.zeros(len(rows), dtype=torch.float64), whole_sample(rows), unlabelled(len(rows)))


def _sample(parts, projection=None):
    rows, groups, rounding, *_ = Rows.joined(parts)
    return Sample.from_rows(rows, groups, projection, seed=3, rounding=rounding)


def _rows(n=400, d=48, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.arange(1, d + 1) ** -0.5
    groups = torch.randint(0, 1 << 40, (n // 4,), generator=generator).repeat_interleave(4)
    return torch.randn(n, d, generator=generator) * scale + 1.0, groups


def _read(sample):
    protocol = Protocol("first_batches", "frame", 100, 4, 0, None)
    return measure(sample, step=1, layer="layers.0", protocol=protocol)


@pytest.mark.parametrize("projection", [None, 24])
@pytest.mark.parametrize("cut", [[200, 200], [0, 400], [8, 92, 300], [1] * 400])
def test_several_processes_read_what_one_reads(cut, projection):
    rows, groups = _rows()
    whole = _read(_sample([_rows_of(rows, groups)], projection))
    shares = [{KEY: _rows_of(r, g)} for r, g in zip(rows.split(cut), groups.split(cut), strict=True)]
    reading = _read(_sample(merge([pack_share(share, {}, "") for share in shares]).shares[KEY], projection))
    assert reading.n == 400
    assert reading.effective_rank == pytest.approx(whole.effective_rank, rel=1e-9)
    assert reading.spectrum == pytest.approx(whole.spectrum, rel=1e-9)
    assert reading.metrics == pytest.approx(dict(whole.metrics), rel=1e-9, nan_ok=True)


def test_rows_order_does_not_matter_to_the_last_bit():
    rows, groups = _rows()
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(9))
    assert _read(_sample([_rows_of(rows, groups)])) == _read(_sample([_rows_of(rows[order], groups[order])]))


def test_the_first_process_that_knows_a_tap_says_it_for_all():
    here, there = ("music", "layers.0"), ("music", "layers.1")
    packed = [pack_share({}, {}, "", taps=taps) for taps in ({}, {here: "norm"}, {here: "other", there: "norm"})]
    assert merge(packed).taps == {here: "norm", there: "norm"}


def test_a_process_that_failed_is_named_and_left_out():
    rows, groups = _rows()
    shares = [pack_share({KEY: _rows_of(rows, groups)}, {}, ""), pack_share({}, {}, "no such file")]
    exchanged = merge(shares)
    assert exchanged.failed == ["process 1: no such file"]
    assert len(exchanged.shares[KEY]) == 1


def test_what_one_process_refuses_is_left_out_for_all():
    rows, groups = _rows()
    shares = [
        pack_share({KEY: _rows_of(rows, groups)}, {}, ""),
        pack_share({}, {"first_batches": "ambiguous lengths"}, ""),
    ]
    exchanged = merge(shares)
    assert exchanged.refused == {"first_batches": "ambiguous lengths"}
    assert not exchanged.shares


def test_a_payload_is_plain_bytes():
    content = {"a": [1, 0.1 + 0.2, "three", None, float("inf")]}
    tensors = [torch.arange(3), torch.zeros(0, 5), torch.randn(2, 3).bfloat16(), torch.tensor([1e-300]).double()]
    payload = pack(content, tensors)
    assert payload.dtype == torch.uint8
    assert payload.ndim == 1
    back, numbers = unpack(payload)
    assert back == content
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(numbers, tensors, strict=True))


def test_rows_that_the_model_gave_in_bfloat16_are_sent_so_and_nothing_is_lost():
    rows, groups = _rows()
    whole, half = _rows_of(rows, groups), _rows_of(rows.bfloat16().float(), groups)
    assert pack_share({KEY: half}, {}, "").numel() < 0.6 * pack_share({KEY: whole}, {}, "").numel()
    assert torch.equal(merge([pack_share({KEY: half}, {}, "")]).shares[KEY][0].rows, half.rows)
    assert torch.equal(merge([pack_share({KEY: whole}, {}, "")]).shares[KEY][0].rows, rows)


def test_what_is_sent_does_not_grow_with_the_number_of_processes():
    rows, groups = _rows(n=1024)
    sent = {}
    for count in (1, 2, 8, 32):
        parts = zip(rows.chunk(count), groups.chunk(count), strict=True)
        sent[count] = sum(pack_share({KEY: _rows_of(r, g)}, {}, "").numel() for r, g in parts)
    assert sent[1] > 1024 * 48 * 4
    assert sent[32] - sent[1] < 32 * 300  # headers only


def test_the_plain_value_is_rankme_of_the_rows():
    rows, groups = _rows()
    sigma = torch.linalg.svdvals(rows.double())
    p = sigma / sigma.sum()
    expected = torch.exp(-(p * p.log()).sum()).item()
    assert _read(_sample([_rows_of(rows, groups)])).rankme == pytest.approx(expected, rel=1e-9)
