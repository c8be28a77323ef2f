"""A dead microphone, or one file of integers among numbers up to one: named, and left out of what it would decide."""

import contextlib
import re
import warnings

import numpy as np
import pytest
import soundfile
import torch
from toys import Encoder

from rankwatch import AudioFolder, Loader, RowSampling, Watch
from rankwatch.extraction.eval_sets.broken_recordings import broken_recordings
from rankwatch.extraction.eval_sets.eval_set import EvalBatch, EvalSet
from rankwatch.extraction.inputs.utterance_keys import fingerprint

COUNT, BROKEN = 24, 7
CONSTANT, INTEGERS = "constant", "times as loud as the others"


def recordings(broken="", seed=0):
    """Noise of other colours and a tenfold range of levels."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for i in range(COUNT):
        samples = torch.randn(int(torch.randint(800, 1600, (), generator=generator)), generator=generator)
        samples = 0.02 * 10 ** (i / COUNT) * (samples + (i % 5) * samples.roll(1))
        if i == BROKEN:
            samples = {"constant": 0 * samples + 0.5, "silent": 0 * samples, "integers": 32768 * samples}.get(
                broken, samples
            )
        found.append(samples)
    return found


def batches(audio, size=4):
    """(waveforms, lengths) of `size` recordings each."""
    groups = [audio[i : i + size] for i in range(0, len(audio), size)]
    return [(torch.nn.utils.rnn.pad_sequence(g, batch_first=True), torch.tensor([len(x) for x in g])) for g in groups]


def set_of(pairs):
    return EvalSet("a", [EvalBatch((), {}, pair, fingerprint(pair[0]), len(pair[0])) for pair in pairs])


@pytest.mark.parametrize(
    ("broken", "words"), [("constant", CONSTANT), ("silent", CONSTANT), ("integers", INTEGERS), ("", None)]
)
@pytest.mark.parametrize("axis", [None, 1, 2])
def test_it_is_found_by_its_samples_whatever_the_padding(broken, words, axis):
    pairs = batches(recordings(broken))
    wide = [(waves if axis is None else waves.unsqueeze(axis), lengths) for waves, lengths in pairs]
    found = broken_recordings(set_of(wide))
    assert len(found) == (words is not None)
    if words is not None:
        ((key, what),) = found.items()
        assert key == int(fingerprint(wide[1][0])[3])
        assert what.startswith("recording 4 of batch 2 (")
        assert words in what


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_file_that_holds_nan_or_inf_is_named_and_left_out_with_no_alarm(tmp_path, value):
    for i, samples in enumerate(recordings()[:6]):
        samples[100] = value if i == 2 else samples[100]
        soundfile.write(tmp_path / f"{i}.wav", samples.numpy(), 16_000, subtype="FLOAT")
    torch.manual_seed(0)
    model, sets = Encoder(layer_drop=0.0, depth=1), {"a": AudioFolder(tmp_path)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Watch(model, tmp_path / "run", every_n_steps=1, max_overhead=None, eval_sets=sets, strict=True) as watch:
            for batch in batches(recordings())[:2]:
                with watch.batch(batch):
                    model(*batch).square().mean().backward()
                watch.step()
    named = [str(one.message) for one in caught if "2.wav (holds NaN or Inf)" in str(one.message)]
    assert len(named) == 1
    assert "left out of all readings" in named[0]
    assert {reading.protocol.utterances for reading in watch.readings} == {5}
    assert not watch.alarms


def test_what_the_set_is_like_is_not_broken():
    loud = [32768 * one if i % 4 == 0 else one for i, one in enumerate(recordings())]
    assert not broken_recordings(set_of(batches(loud)))
    assert not broken_recordings(set_of(batches([32768 * one for one in recordings()])))  # all are integers
    assert not broken_recordings(set_of(batches(recordings("constant")[6:9])))  # too few to know what is usual
    nothing = [(torch.zeros(1, 800), torch.zeros(1, dtype=torch.int64))]  # of no length, which is reported elsewhere
    assert not broken_recordings(set_of(batches(recordings()) + nothing))
    features = [(torch.randn(4, 50, 20), torch.full((4,), 50)) for _ in range(3)]
    assert not broken_recordings(set_of(features))


class NoPictures:
    """A logger that writes nothing: drawing would be most of the time."""

    def log_metrics(self, metrics, step):
        pass


def log_spectra(group):
    """(B, F, T), of each recording by itself and padded with zeros."""
    window = torch.hann_window(64)
    found = [torch.stft(x, 64, 16, window=window, return_complex=True).abs().clamp(1e-5).log() for x in group]
    return torch.nn.utils.rnn.pad_sequence([one.T for one in found], batch_first=True).transpose(1, 2)


def pad(group, value=0.0):
    return torch.nn.utils.rnn.pad_sequence(group, batch_first=True, padding_value=value)


SHAPES = {
    "list of waveforms": list,
    "nested tensor": torch.nested.nested_tensor,
    "dict of dicts": lambda group: {"ids": ["a"] * len(group), "audio": {"input_values": pad(group)}},
    "two channels": lambda group: torch.stack([pad(group)] * 2, 1),
    "padded in front": lambda group: pad([one.flip(0) for one in group]).flip(1),
    "padded with another value": lambda group: pad(group, -1.0),
    "log spectra (B, F, T)": log_spectra,
    "log spectra (B, T, F)": lambda group: log_spectra(group).transpose(1, 2),
    "log spectra (B, 1, F, T)": lambda group: log_spectra(group).unsqueeze(1),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_found_in_whatever_a_loader_gives(shape):
    for broken in ("constant", "integers", ""):
        groups = [recordings(broken)[i : i + 4] for i in range(0, COUNT, 4)]
        keys = [fingerprint(pad(group)) for group in groups]
        batches = [EvalBatch((), {}, SHAPES[shape](group), key, 4) for group, key in zip(groups, keys, strict=True)]
        found = broken_recordings(EvalSet("a", batches))
        told = broken == "constant" or (broken == "integers" and "log" not in shape)
        assert list(found) == ([int(keys[1][3])] if told else []), broken


@contextlib.contextmanager
def always():
    """All warnings, inside of what records them."""
    warnings.simplefilter("always")
    yield


def watched(folder, **arguments):
    """Three steps on good audio; the readings of the last one, and the warnings."""
    torch.manual_seed(0)
    model = Encoder(width=16, depth=1, dropout=0.0, layer_drop=0.0)
    settings = {
        "every_n_steps": 3,
        "rows": RowSampling(n_utterances=COUNT),
        "max_overhead": None,
        "writer": NoPictures(),
        **arguments,
    }
    data = settings.pop("data", batches(recordings(seed=1)))
    with warnings.catch_warnings(record=True) as caught, always(), Watch(model, folder, **settings) as watch:
        for step in range(6):
            batch = data[step % len(data)]
            with watch.batch(batch):
                model(*batch)
            watch.step()
    numbers = {(r.level, r.layer): r.effective_rank for r in watch.readings if r.step == 6}
    assert numbers
    said = [str(one.message) for one in caught if "recording" in str(one.message)]
    return numbers, watch.readings[-1].protocol.utterances, said


def run(module, batch):
    """The forward pass of a loader's batches."""
    return module(*batch)


@pytest.mark.parametrize("broken", ["constant", "integers"])
def test_a_set_is_read_as_if_it_were_not_there(tmp_path, broken):
    without = [one for i, one in enumerate(recordings()) if i != BROKEN]
    plain, count, said = watched(tmp_path / "a", eval_sets=Loader(batches(without), run))
    assert (count, said) == (COUNT - 1, [])
    numbers, count, said = watched(tmp_path / "b", eval_sets=Loader(batches(recordings(broken)), run))
    assert count == COUNT - 1
    assert numbers == pytest.approx(plain, rel=1e-6)
    (message,) = said
    assert "loader: one recording is left out of all readings" in message
    assert "recording 4 of batch 2 (" in message


def test_the_first_batches_say_that_the_model_is_trained_on_it(tmp_path):
    _, count, said = watched(tmp_path, data=batches(recordings("constant")))
    assert count == COUNT - 1
    assert "recording 4 of batch 2 (constant" in said[0]
    assert "the model is trained on such audio, too" in said[0]


def test_a_file_is_named(tmp_path):
    for i, samples in enumerate(recordings("constant")):
        soundfile.write(tmp_path / f"{i:02}.wav", samples.numpy().astype(np.float32), 16_000, subtype="FLOAT")
    source = AudioFolder(tmp_path, forward=run)
    _, count, said = watched(tmp_path / "run", eval_sets=source)
    assert count == COUNT - 1
    assert re.search(rf"audio_folder: one recording is left out .*{tmp_path}/07\.wav \(constant", said[0])


def test_a_set_that_is_mostly_silent_is_read_as_it_is_and_said_to_be(tmp_path):
    audio = [0 * one + i if i < 16 else one for i, one in enumerate(recordings())]
    torch.manual_seed(0)
    _, count, said = watched(tmp_path, eval_sets=Loader(batches(audio), run))
    assert count == COUNT
    assert "16 of 24 recordings are broken, and counted all the same" in said[0]
