"""What goes wrong inside a run: bad batches, layers that change, recordings of half an hour, NaN in one utterance."""

import time

import pytest
import torch
from faulty import STEPS, Module, batches, fit, fit_untouched, steps, watch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from toys import Block, Encoder, Noise, collate

from rankwatch import AudioFolder, RowSampling
from rankwatch.arguments.settings import WATCH
from rankwatch.reporting import read_jsonl

LAYERS = ["encoder.feature_extractor", "encoder.layers.0", "encoder.layers.1"]


# -- batches -----------------------------------------------------------------------------------------------


class Skipping(Module):
    """Skips a batch in which there is nothing, or nothing to hear."""

    def training_step(self, batch, index):
        return None if batch is None or not batch[0].any() else super().training_step(batch, index)


def too_long(batch):
    waveforms, lengths = batch
    return waveforms, lengths + 500


def of_zero_length(batch):
    waveforms, lengths = (part.clone() for part in batch)
    waveforms[2], lengths[2] = 0, 0
    return waveforms, lengths


def of_one(batch):
    return batch[0][:1, : batch[1][0]], batch[1][:1]


def nothing(batch):
    return None


def empty(batch):
    return batch[0][:0], batch[1][:0]


def disable_source(batch):
    return 0 * batch[0], batch[1]


@pytest.mark.parametrize("at", [[0, 1], [6, 7]])  # while the evaluation set is held back, and later
@pytest.mark.parametrize("bad", [of_zero_length, of_one, nothing, empty])
def test_a_bad_batch_costs_itself_only(tmp_path, bad, at):
    callback = watch(watch=WATCH)
    _, _, told = fit_untouched(tmp_path, callback, make=Skipping, data=batches(bad, at, count=16))
    last = [r for r in callback.readings if (r.step, r.source, r.level) == (12, "first_batches", "utterance")]
    without_frames = len(at) if bad is of_zero_length and at != [6, 7] else 0
    assert [(r.layer, r.n) for r in last] == [(layer, 32 - without_frames) for layer in LAYERS]
    assert 12 in steps(callback, "train")
    assert len(told) == (without_frames > 0)
    assert all("too short to have a single frame" in text for text in told)
    assert not callback.alarms


@pytest.mark.parametrize(("bad", "first"), [(nothing, 0), (empty, 0), (disable_source, 1)])
def test_many_batches_of_nothing_do_not_end_the_holding_back(tmp_path, bad, first):
    callback = watch()
    _, _, told = fit_untouched(tmp_path, callback, make=Skipping, data=batches(bad, range(first, first + 8), count=20))
    assert {r.n for r in callback.readings if r.level == "utterance"} == {32}
    assert not told


@pytest.mark.parametrize("at", [[1], [6]])
def test_lengths_beyond_the_batch_are_told_and_never_guessed(tmp_path, at):
    """Where they are in the set it isn't read: who knows what its other lengths mean? Else nothing happens."""
    callback = watch()
    _, _, told = fit_untouched(tmp_path, callback, data=batches(too_long, at))
    assert steps(callback) == (set() if at == [1] else STEPS)
    assert len(told) == (at == [1])
    assert all("looks like lengths but doesn't fit: argument 'lengths'" in text for text in told)


# -- layers ------------------------------------------------------------------------------------------------

CHANGES = {
    "twice as wide": lambda x: torch.cat([x, x], -1),
    "half the frames": lambda x: x[:, ::2],
    "twice the frames": lambda x: x.repeat_interleave(2, 1),
    "in a tuple": lambda x: (x, None),
    "no batch axis": lambda x: x.flatten(0, 1),
    "whole numbers": lambda x: x.long(),
    "no frame": lambda x: x[:, :0],
    "nothing": lambda x: None,
}
READ = ["twice as wide", "half the frames", "in a tuple"]


class Changing(Block):
    """Gives its output in another form from some time on; the encoder knows how to take it."""

    change = None

    def forward(self, x, padding):
        output = super().forward(x, padding)
        self.kept = output
        return output if self.change is None else self.change(output)


class ChangingEncoder(Encoder):
    def __init__(self):
        super().__init__(depth=2, layer_drop=0.0)
        self.layers[1] = Changing(32, 0.1)

    def forward(self, waveforms, lengths):
        x = self.feature_extractor(waveforms.unsqueeze(1)).transpose(1, 2)
        padding = torch.arange(x.shape[1]) >= self.frames(lengths).unsqueeze(1)
        for layer in self.layers:
            output = layer(x, padding)
            x = layer.__dict__.pop("kept", output)
        return x


@pytest.mark.parametrize("how", CHANGES)
def test_a_layer_that_changes_its_form_is_read_as_it_is_or_named(tmp_path, how):
    class Model(Module):
        def __init__(self):
            super().__init__()
            self.encoder = ChangingEncoder()

        def training_step(self, batch, index):
            self.encoder.layers[1].change = CHANGES[how] if self.global_step >= 6 else None
            return super().training_step(batch, index)

    callback = watch(watch=WATCH, layers=LAYERS)
    _, _, told = fit_untouched(tmp_path, callback, make=Model, data=batches(count=16))
    last = {r.layer: r for r in callback.readings if (r.step, r.source, r.level) == (12, "first_batches", "frame")}
    if how == "twice the frames":  # whose lengths can't be known any more; then none of this model's are believed
        assert not last
    else:
        assert {layer for layer, reading in last.items() if reading.ok} == set(LAYERS) - (
            set() if how in READ else {LAYERS[2]}
        )
    assert LAYERS[2] in " ".join(told) or how in READ or how == "no frame"
    if how == "twice as wide":
        assert last[LAYERS[2]].d == 64
        assert any("curves start again" in text for text in told)
    assert not [alarm for alarm in callback.alarms if alarm.severity == "critical"]


# -- half an hour ------------------------------------------------------------------------------------------

HALF_AN_HOUR = 30 * 60 * 16_000


class Shift(nn.Linear):
    def forward(self, x):
        return x + 0.1 * super().forward(x)


class CheapEncoder(nn.Module):
    """One frame every 20 ms, and blocks of one linear layer."""

    def __init__(self, depth):
        super().__init__()
        self.feature_extractor = nn.Sequential(nn.Conv1d(1, 8, 400, 320), nn.GELU())
        self.layers = nn.ModuleList(Shift(8, 8) for _ in range(depth))

    def forward(self, waveforms, lengths):
        x = self.feature_extractor(waveforms.unsqueeze(1)).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        return x


class Cheap(Module):
    """Notes in `probed` what its encoder was run on in eval mode."""

    def __init__(self, probed, depth=2, cropped=False):
        super().__init__()
        self.encoder = CheapEncoder(depth)
        self.cropped = cropped
        self.encoder.register_forward_pre_hook(lambda one, call: None if one.training else probed.append(call[0].shape))

    def training_step(self, batch, index):
        waveforms, lengths = (batch[0][:, :9600], batch[1].clamp(max=9600)) if self.cropped else batch
        loss = self.encoder(waveforms, lengths).square().mean()
        self.losses.append(loss.item())
        return loss


def with_a_long_one(at):
    items = Noise(48, shortest=4000, longest=16_000).items
    made = [collate(items[i * 8 : (i + 1) * 8]) for i in range(6)]
    long = torch.zeros(1, HALF_AN_HOUR).uniform_(generator=torch.Generator().manual_seed(0))
    return torch.utils.data.DataLoader([*made[:at], (long, torch.tensor([HALF_AN_HOUR])), *made[at:]], batch_size=None)


@pytest.mark.parametrize(("at", "cropped"), [(0, True), (2, True), (1, False)])
def test_a_recording_of_half_an_hour_is_no_part_of_the_probe_set(tmp_path, caplog, at, cropped):
    """Also where the training step crops it: the loader's batch would be kept whole, and written beside the run."""
    callback, probed = watch(rows=RowSampling(n_utterances=24), every_n_steps=2, layers=LAYERS), []
    with caplog.at_level("INFO", logger="rankwatch"):
        model = {"make": lambda: Cheap(probed, cropped=cropped), "data": with_a_long_one(at)}
        _, run, _ = fit(tmp_path, callback, **model, max_steps=6)
    assert run.global_step == 6
    assert {r.n for r in callback.readings if r.level == "utterance"} == {24}
    assert 0 < max(shape.numel() for shape in probed) <= 8 * 16_000
    assert "without 1 whose batch is far larger than others" in " ".join(caplog.text.split())
    assert next(tmp_path.rglob("*.eval_set.*")).stat().st_size < 5e6


def test_a_long_file_in_a_folder_is_cut_and_not_even_decoded_whole(tmp_path, monkeypatch):
    soundfile = pytest.importorskip("soundfile")
    folder = tmp_path / "audio"
    folder.mkdir()
    short = [len(samples) for samples in Noise(7, shortest=4000, longest=16_000).items]
    for index, samples in enumerate(Noise(7, shortest=4000, longest=16_000).items):
        soundfile.write(folder / f"{index}.wav", 0.1 * samples.numpy(), 16_000)
    with soundfile.SoundFile(folder / "long.wav", "w", 16_000, 1) as file:
        for _ in range(30):
            file.write(0.1 * torch.randn(HALF_AN_HOUR // 30).numpy())
    decoded, read = [], soundfile.SoundFile.read

    def counting(file, *args, **kwargs):
        samples = read(file, *args, **kwargs)
        decoded.append(len(samples))
        return samples

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    sets = {"files": AudioFolder(folder, max_seconds=2.0)}
    callback = watch(rows=RowSampling(n_utterances=8), eval_sets=sets, layers=LAYERS)
    data, probed = batches(), []
    fit(tmp_path, callback, make=lambda: Cheap(probed), data=data, max_steps=4)
    assert sum(decoded) == sum(short) + 32_000
    assert {r.n for r in callback.readings if r.level == "utterance"} == {8}
    assert max(shape[1] for shape in probed) == 32_000


# -- very many layers --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_thousand_layers_are_read_and_shown(tmp_path, caplog):
    callback = watch(watch=["frame"], rows=RowSampling(n_utterances=16), every_n_steps=100, layers=["encoder.layers.*"])
    began = time.process_time()
    with caplog.at_level("INFO", logger="rankwatch"):
        fit(tmp_path, callback, make=lambda: Cheap([], 1000), data=batches(), max_steps=2, logger=True)
    print(f"a run of two steps with one reading of a thousand layers: {time.process_time() - began:.1f} s")
    assert len({reading.layer for reading in callback.readings if reading.ok}) == 1000
    assert sum(line.strip().startswith("L") for line in caplog.text.splitlines()) >= 1000
    events = EventAccumulator(str(tmp_path / "lightning_logs/version_0")).Reload()
    assert len([tag for tag in events.Tags()["scalars"] if tag.startswith("RankWatch")]) <= 60
    assert len(read_jsonl(next(tmp_path.rglob("*.jsonl")))) == 1000


# -- NaN in one utterance ----------------------------------------------------------------------------------


class Careful(Module):
    """Looks at the audio as it is, and learns from it without NaN: its weights stay healthy."""

    def training_step(self, batch, index):
        waveforms, lengths = batch
        with torch.no_grad():
            self.encoder(waveforms, lengths)
        return super().training_step((waveforms.nan_to_num(), lengths), index)


def with_nan(batch):
    waveforms = batch[0].clone()
    waveforms[3, : batch[1][3]] = torch.nan
    return waveforms, batch[1]


def test_nan_in_one_utterance_is_a_warning_and_the_others_count(tmp_path):
    callback, clean = watch(on_collapse="stop"), watch()
    _, _, told = fit_untouched(tmp_path, callback, make=Careful, data=batches(with_nan, [1]))
    fit(tmp_path / "clean", clean, make=Careful)
    ranks = {(r.step, r.level, r.layer): r.effective_rank for r in clean.readings}
    assert {r.step for r in callback.readings} == STEPS
    for reading in callback.readings:
        assert reading.n == (31 if reading.level == "utterance" else 31 * 4)
        assert reading.metrics["non_finite_fraction"] == pytest.approx(1 / 32)
        assert reading.effective_rank == pytest.approx(ranks[reading.step, reading.level, reading.layer], rel=0.1)
    assert {(alarm.kind, alarm.severity) for alarm in callback.alarms} == {("non_finite", "warning")}
    assert any("3.1% of the rows hold NaN or Inf" in text for text in told)


def test_a_folder_without_one_good_file_is_told_before_training(tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    with pytest.raises(ValueError, match=r"not one audio file could be read: .*broken\.wav"):
        fit(tmp_path, watch(eval_sets={"files": str(tmp_path)}))
