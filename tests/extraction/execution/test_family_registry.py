"""A model family from outside: its models are read without masks, and need no forward of their own."""

import pytest
import torch
from toys import Encoder, Noise, collate

from rankwatch import RowSampling, register_family
from rankwatch.arguments.settings import Settings
from rankwatch.extraction.execution import family_registry
from rankwatch.extraction.execution.model_families import unmasked_call
from rankwatch.extraction.model import conventions
from rankwatch.monitor.monitor import Monitor


class Masking(Encoder):
    """Masks whatever it is called with, in eval mode too, unless it is told not to."""

    def forward(self, waveforms, lengths, mask=True):
        return super().forward(waveforms * (0.0 if mask else 1.0), lengths)


def register(**more):
    register_family(
        "Somebody's",
        belongs=lambda module: isinstance(module, Masking),
        run=lambda model, waveforms, lengths: model(waveforms, lengths, mask=False),
        **more,
    )


def without_masks(model, arguments, batch):
    return lambda: model(arguments["waveforms"], arguments["lengths"], mask=False)


def readings(sets):
    """Of the first batches, and of files."""
    torch.manual_seed(0)
    model = Masking(layer_drop=0.0)
    monitor = Monitor(Settings(eval_sets=sets, rows=RowSampling(n_utterances=8), strict=True))
    monitor.attach(model)
    batch = collate(Noise(8).items)
    for step in range(2):
        monitor.batch_starts(batch, step)
        model(*batch)
        monitor.batch_ends(batch)
    monitor.complete_eval_sets()
    found = monitor.read(2).report.readings
    monitor.close()
    return {(r.source, r.level, r.layer): (r.effective_rank, r.protocol.input) for r in found}


def test_its_recorded_calls_are_run_without_masks():
    masked = readings("first_batches")
    assert {how for _, how in masked.values()} == {"replayed"}
    register(replay=without_masks)
    clean = readings("first_batches")
    assert {how for _, how in clean.values()} == {"clean"}
    key = ("first_batches", "frame", "layers.0")
    assert not masked[key][0] > 1.5  # all audio is masked
    assert clean[key][0] > 5


def test_files_are_run_by_it_and_calls_as_they_were_where_it_says_nothing_of_them(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    for index, samples in enumerate(Noise(8, seed=9).items):
        soundfile.write(tmp_path / f"{index}.wav", 0.1 * samples.numpy(), 16_000)
    register()
    found = readings({"first_batches": "first_batches", "files": tmp_path})
    assert {source: how for (source, _, _), (_, how) in found.items()} == {
        "first_batches": "replayed",
        "files": "clean",
    }
    assert found["files", "frame", "layers.0"][0] > 5


def test_arguments_are_shown_only_where_the_module_is_of_the_package():
    seen = []

    def replay(model, arguments, batch):
        seen.append(arguments)

    register(replay=replay, package="somebody.models")
    model = Masking()
    adapter = unmasked_call(model, model)
    assert adapter.name == "Somebody's Masking"
    assert adapter.transform((1, 2), {}, None) is None
    register(replay=replay, package=Masking.__module__)
    assert unmasked_call(model, model).transform((1, 2), {}, None) is None
    assert seen == [{}, {"waveforms": 1, "lengths": 2}]


def test_the_newest_family_is_asked_first_and_a_name_is_there_once():
    names = [family.name for family in family_registry.FAMILIES]
    assert names == ["torchaudio's", "Hugging Face's", "NeMo's", "ESPnet's"]
    register()
    register()
    assert [family.name for family in family_registry.FAMILIES] == ["Somebody's", *names]


def test_the_layout_of_its_front_ends_is_a_convention_of_its_package():
    register(package=Masking.__module__, front_end_layout="(B, T, C)")
    assert conventions.front_end_layouts(Masking()) == ["(B, T, C)"]
    assert conventions.has_batch_first(Masking())
    assert not conventions.has_batch_first(Encoder())
    with pytest.raises(ValueError, match="say package as well"):
        register(front_end_layout="(B, T, C)")
    with pytest.raises(ValueError, match=r"must be '\(B, C, T\)' or '\(B, T, C\)'"):
        register(package="somebody", front_end_layout="(T, B, C)")
