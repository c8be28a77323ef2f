"""A labelled set's readings hold a probe's accuracy, and say whether labels agree with an alarm."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from clips import corpus
from processes import Processes
from readings import reading
from toys import Encoder, Noise, collate

from rankwatch import RowSampling
from rankwatch.alarms.history import History
from rankwatch.alarms.label_agreement import label_agreement
from rankwatch.arguments.settings import Settings
from rankwatch.extraction.eval_sets.labelled_set import LabelledSet
from rankwatch.extraction.rows.row_buffer import RowBuffer, Rows
from rankwatch.extraction.rows.row_labels import Labelled, Labels, unlabelled
from rankwatch.extraction.rows.row_sampling import SampledRows, whole_sample
from rankwatch.monitor.collected_rows import CollectedRows
from rankwatch.monitor.evaluator import Evaluator
from rankwatch.monitor.monitor import Monitor
from rankwatch.monitor.reading_exchange import merge, pack_share
from rankwatch.numerics import grouped_probe
from rankwatch.readings.probe_accuracy import with_accuracy
from rankwatch.readings.protocol import Protocol

NAMES = ("probe_accuracy", "probe_majority_accuracy", "probe_chance_accuracy")
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def _rows(n=240, d=24, seed=0):
    """Rows of three labels, twelve speakers and n / 4 utterances; every fifth has no label."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (n,), generator=generator)
    x = torch.randn(3, d, generator=generator)[labels] + 3 * torch.randn(n, d, generator=generator)
    labels[::5] = -1
    groups = torch.arange(n) // 4
    return Rows(x, groups, torch.zeros(n).double(), whole_sample(x), torch.stack([labels, groups % 12], dim=1))


def _metrics(rows):
    return {name: with_accuracy(reading(1, 50.0), rows).metrics[name] for name in NAMES}


def test_rows_without_a_label_do_not_count_and_speakers_are_left_out():
    rows = _rows()
    known = rows.labels[:, 0] >= 0
    expected = grouped_probe(rows.rows[known], rows.labels[known, 0], rows.labels[known, 1])
    assert tuple(_metrics(rows).values()) == dataclasses.astuple(expected)
    assert expected.majority + 0.2 < expected.accuracy < 1.0


def test_without_speakers_utterances_are_left_out_never_frames():
    rows = _rows()
    rows.labels[:, 1] = -1
    known = rows.labels[:, 0] >= 0
    expected = grouped_probe(rows.rows[known], rows.labels[known, 0], rows.groups[known])
    assert tuple(_metrics(rows).values()) == dataclasses.astuple(expected)


def test_a_source_without_labels_has_no_accuracy_and_one_of_nan_no_number():
    one = reading(1, 50.0)
    assert with_accuracy(one, _rows()._replace(labels=unlabelled(240))) is one
    spoilt = _rows()._replace(rows=torch.full((240, 24), math.nan))
    assert all(math.isnan(value) for value in _metrics(spoilt).values())


@pytest.mark.parametrize("cut", [[120, 120], [0, 240], [8, 92, 140]])
def test_labels_travel_with_their_rows_beside_sources_without_any(cut):
    whole = _rows()
    parts = [Rows(*part) for part in zip(*(column.split(cut) for column in whole), strict=True)]
    plain = [part._replace(labels=unlabelled(len(part.rows))) for part in parts]
    keys = [("a", "frame", "x"), ("b", "frame", "x"), ("c", "frame", "x")]
    payloads = [pack_share(dict(zip(keys, (q, p, q), strict=True)), {}, "") for p, q in zip(parts, plain, strict=True)]
    shares = merge(payloads).shares
    for column, expected in zip(Rows.joined(shares[keys[1]]), whole, strict=True):
        assert torch.equal(column, expected)
    assert Rows.joined(shares[keys[0]]).labels.shape == Rows.joined(shares[keys[2]]).labels.shape == (240, 0)
    assert _metrics(Rows.joined(shares[keys[1]][::-1])) == _metrics(whole)  # to the last bit, in any order


SETTINGS = Settings(
    every_n_steps=10, max_overhead=None, eval_sets={"first_batches": "first_batches", "clips": "there"}, watch=["frame"]
)


def _gathered(part):
    """A share of the rows of a labelled and of another source."""
    rows = _rows()
    keys, zeros = rows.groups[part], torch.zeros(len(rows.rows[part])).double()
    drawn = SampledRows(rows.rows[part], keys, rows.rows[:0], keys[:0], zeros, zeros[:0], zeros, 0, whole_sample(zeros))
    known = {int(key): Labelled(0, int(key) % 5, 1.0, [(0.0, 1.0, int(key) % 2)]) for key in keys}
    windows = [RowBuffer(name, SETTINGS.levels) for name in SETTINGS.sets]
    windows[0].add({"layers.0": drawn}, 0)
    windows[1].add({"layers.0": drawn}, 0, Labels(known, whole=True, frames=True, words=""))
    protocols = {(name, "frame"): Protocol(name, "frame", 60, 4, 0, None) for name in SETTINGS.sets}
    return CollectedRows(10, windows, protocols)


def _evaluate(group, rank, part):
    return Evaluator(SETTINGS, ["layers.0"], group, first=rank == 0).evaluate(_gathered(part))


def _accuracies(evaluated):
    readings = evaluated.outcome.report.readings
    return {r.source: [r.metrics[name] for name in NAMES] for r in readings if NAMES[0] in r.metrics}


def test_processes_agree_and_read_what_one_with_all_rows_reads():
    alone = _accuracies(_evaluate(None, 0, slice(None)))
    assert list(alone) == ["clips"]
    parts = [slice(0, 96), slice(96, 100), slice(100, 240)]
    found = Processes(3).run(lambda group, rank: _evaluate(group, rank, parts[rank]))
    assert [_accuracies(one) for one in found] == [alone] * 3


def test_a_probe_that_fails_is_told_and_its_reading_stays(monkeypatch):
    def explode(*_):
        raise FloatingPointError("made up")

    monkeypatch.setattr("rankwatch.readings.probe_accuracy.grouped_probe", explode)
    evaluated = _evaluate(None, 0, slice(None))
    assert [r.source for r in evaluated.outcome.report.readings] == ["first_batches", "clips"]
    assert not _accuracies(evaluated)
    assert [one.message for one in evaluated.troubles] == [
        "the linear probe of layers.0 failed: FloatingPointError: made up"
    ]


class Bands(Encoder):
    """Log energies of 32 bands every 10 ms, under untrained blocks."""

    def __init__(self, collapse="none", samples=160):
        torch.manual_seed(0)  # whichever tests ran before
        super().__init__(collapse=collapse)
        t, pitch = torch.arange(2 * samples) / 16_000, torch.logspace(2, 3.8, 32)[:, None]
        waves = [torch.cos(2 * torch.pi * pitch * t), torch.sin(2 * torch.pi * pitch * t)]
        conv = torch.nn.Conv1d(1, 64, 2 * samples, samples, bias=False)
        conv.weight.data = (torch.cat(waves) * torch.hann_window(2 * samples))[:, None]
        self.feature_extractor = torch.nn.Sequential(conv, LogEnergy())
        self.frames = lambda length: length // samples - 1


class LogEnergy(torch.nn.Module):
    def forward(self, x):
        cosine, sine = x.chunk(2, dim=1)
        return torch.log(cosine.square() + sine.square() + 1e-3)


def _watched(spec, name, model, **settings):
    """The readings of a labelled set beside the default one."""
    monitor = Monitor(
        Settings(
            eval_sets={"first_batches": "first_batches", name: spec},
            layers=["layers.*"],
            max_overhead=None,
            strict=True,
            **settings,
        )
    )
    monitor.attach(model)
    batch = collate(Noise(8).items)
    for step in range(3):
        monitor.batch_starts(batch, step)
        model(*batch)
        monitor.before_backward()
        monitor.batch_ends(batch)
    monitor.complete_eval_sets()
    readings = monitor.read(3).report.readings
    monitor.close()
    assert not any(NAMES[0] in r.metrics for r in readings if r.source != name)
    return [r for r in readings if r.source == name]


def test_a_model_that_hears_tones_is_probed_at_both_levels(tmp_path):
    spec = LabelledSet(corpus(tmp_path), alignment="alignment")
    readings = _watched(spec, "tones", Bands(), rows=RowSampling(frames_per_utterance=8))
    assert len(readings) == 6
    for one in readings:
        assert one.metrics["probe_chance_accuracy"] == (1 / 2 if one.level == "frame" else 1 / 3)
        assert one.metrics["probe_accuracy"] > one.metrics["probe_majority_accuracy"] + 0.15


@pytest.mark.parametrize("levels", [["frame"], ["utterance"]])
def test_without_alignments_there_is_no_accuracy_at_frame_level(tmp_path, levels):
    readings = _watched(LabelledSet(corpus(tmp_path)), "tones", Encoder(), watch=levels)
    assert readings
    assert all((NAMES[0] in r.metrics) == (levels == ["utterance"]) for r in readings)


@pytest.mark.slow
def test_phones_of_real_speech_stand_out_of_a_collapse():
    """Bands carry phones; a line doesn't."""
    if not (SHARED / "emodb").is_dir():
        pytest.skip("emodb is not part of the project")
    spec = LabelledSet(SHARED / "emodb" / "manifest.csv", alignment="alignment_path")
    found = {}
    for collapse in ("none", "line"):
        readings = _watched(spec, "emodb", Bands(collapse), watch=["frame"])
        found[collapse] = {r.layer: r.metrics for r in readings}
    healthy, collapsed = (found[kind]["layers.2"] for kind in ("none", "line"))
    assert healthy["probe_majority_accuracy"] == collapsed["probe_majority_accuracy"] < 0.15
    assert healthy["probe_accuracy"] > 2 * healthy["probe_majority_accuracy"]
    assert collapsed["probe_accuracy"] < 1.5 * collapsed["probe_majority_accuracy"]


def _said(accuracy, *, step=1, source="emodb", level="frame", majority=0.1):
    return reading(step, 50.0, source=source, level=level, probe_accuracy=accuracy, probe_majority_accuracy=majority)


def _after(values, **where):
    past = History()
    for value in values:
        _add(past, [_said(value, **where)])
    return past


def _add(past, readings):
    for one, series in zip(readings, past.open_series(readings).values(), strict=True):
        series.add(one, clean=False)  # a collapse is no reason to forget what labels have said


def _sentence(past, readings, level="frame", layer="layers.0"):
    return label_agreement(readings, past.open_series(readings), level, layer)


def test_a_fall_of_the_accuracy_agrees_in_numbers():
    sentence = _sentence(_after([0.3, 0.41, 0.40, 0.42]), [_said(0.12)])
    assert sentence == (
        "Labels agree: probe accuracy on 'emodb' at frame level in layers.0 fell from 0.41 to 0.12 "
        "(the most frequent label alone reaches 0.10)."
    )


def test_an_accuracy_that_holds_does_not_agree():
    sentence = _sentence(_after([0.4, 0.4, 0.4]), [_said(0.38)])
    assert sentence == (
        "Labels do not agree: probe accuracy on 'emodb' at frame level in layers.0 is 0.38, before 0.40 "
        "(the most frequent label alone reaches 0.10)."
    )


def test_only_labelled_rows_make_an_accuracy_sure():
    """A fall from 0.40 to 0.28 is one of 100 labelled rows (two errors are 0.10), not one of 30 (0.18)."""
    for rows, word in ((100.0, "Labels agree"), (30.0, "Labels do not agree")):
        now = _said(0.28)
        now = dataclasses.replace(now, metrics={**now.metrics, "probe_rows": rows})
        assert _sentence(_after([0.4] * 3), [now]).startswith(word)


def test_one_high_reading_is_not_what_was_held_and_a_slow_fall_is_still_one():
    assert "do not" in _sentence(_after([0.4, 0.4, 0.4, 0.9, 0.4]), [_said(0.38)])
    slow = [0.4, 0.4, 0.4, *(0.4 - 0.01 * i for i in range(25))]
    assert "fell from 0.40 to 0.14" in _sentence(_after(slow), [_said(0.14)])


@pytest.mark.parametrize(
    ("past", "now", "layer"),
    [
        ([], 0.1, "layers.0"),  # nothing earlier
        ([0.11, 0.09, 0.1], 0.05, "layers.0"),  # labels were never found
        ([0.4, 0.4, 0.4], 0.1, "layers.1"),  # another layer
        ([0.4, 0.4, 0.4], math.nan, "layers.0"),
    ],
)
def test_where_labels_have_nothing_to_say_there_is_no_sentence(past, now, layer):
    readings = [_said(now), reading(1, 20.0)]
    assert _sentence(_after(past), readings, layer=layer) == ""


def test_the_alarms_level_speaks_first_then_the_set_that_has_lost_most():
    past = _after([0.5] * 3)
    for _ in range(3):
        _add(past, [_said(0.5, source="fsdd"), _said(0.9, level="utterance")])
    now = [_said(0.4), _said(0.2, source="fsdd"), _said(0.1, level="utterance")]
    assert "'fsdd' at frame level" in _sentence(past, now)
    assert "'emodb' at utterance level" in _sentence(past, now, "utterance")
    assert "'emodb' at utterance level" in _sentence(past, now[2:])


def test_another_protocol_starts_again():
    """Numbers under different protocols are never compared."""
    past = _after([0.4, 0.4, 0.4])
    now = dataclasses.replace(_said(0.1), protocol=dataclasses.replace(_said(0.1).protocol, precision="bf16-mixed"))
    assert _sentence(past, [now]) == ""


def test_what_was_reached_survives_a_restart_anywhere(tmp_path):
    values = [0.41, 0.44, 0.40, 0.2, 0.2]
    for cut in range(len(values)):
        torch.save(_after(values[:cut]).state_dict(), tmp_path / "state")
        resumed = History()
        resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
        for value in values[cut:]:
            _add(resumed, [_said(value)])
        assert resumed.state_dict() == _after(values).state_dict()
        assert _sentence(resumed, [_said(0.2)]) == _sentence(_after(values), [_said(0.2)]) != ""
