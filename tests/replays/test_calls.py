"""However training has called the model, its calls are made again; codes are counted in the same passes."""

import pytest
import torch
from quantizer_toys import RandomQuantizer
from test_equal_to_live import HISTORY, differing, quietly
from tiny_audio import write_audio
from torch import nn
from toys import Encoder, Noise, collate

from rankwatch import AudioFolder, Loader, RowSampling, Watch, replay
from rankwatch.extraction.eval_sets.eval_set import EvalSet
from rankwatch.reporting.jsonl_records import read_codebooks


class One(nn.Module):
    """Its encoder is of no known family and takes lengths."""

    def __init__(self):
        super().__init__()
        self.encoder, self.head = Encoder(depth=1), nn.Linear(32, 4)

    def loss(self, waveforms, lengths):
        return self.head(self.encoder(waveforms, lengths)).square().mean()


class Pair(nn.Module):
    """Student and teacher are called independently of each other."""

    def __init__(self):
        super().__init__()
        self.student, self.teacher = Encoder(depth=1), Encoder(depth=1)

    def loss(self, waveforms, lengths):
        with torch.no_grad():
            target = self.teacher(waveforms, lengths)
        return (self.student(waveforms, lengths) - target).square().mean()


class Front(nn.Module):
    def __init__(self):
        super().__init__()
        self.feature_extractor = nn.Sequential(nn.Conv1d(1, 32, 10, 5), nn.GELU(), nn.Conv1d(32, 32, 8, 4), nn.GELU())

    def forward(self, waveforms):
        return self.feature_extractor(waveforms.unsqueeze(1)).transpose(1, 2)


class Chain(nn.Module):
    """A front end and blocks that are called one after the other."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.front, self.blocks = Front(), nn.TransformerEncoder(layer, 1)

    def loss(self, waveforms, lengths):
        return self.blocks(self.front(waveforms)).square().mean()


class Quantizing(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.quantizer = Encoder(depth=1), RandomQuantizer(16, width=32)

    def forward(self, waveforms, lengths):
        x = self.encoder(waveforms, lengths)
        self.quantizer(x)
        return x


class Books(nn.Module):
    """Its quantizer is called in every forward pass."""

    def __init__(self):
        super().__init__()
        self.inner = Quantizing()

    def loss(self, waveforms, lengths):
        return self.inner(waveforms, lengths).square().mean()


def train(model, folder, sets):
    """Six steps with checkpoints at the third and the sixth; gives the run's records."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    items = Noise(64).items
    rows = RowSampling(n_utterances=16)
    with Watch(
        model, folder / "run", optimizer=optimizer, every_n_steps=3, rows=rows, max_overhead=None, eval_sets=sets
    ) as watch:
        for step in range(1, 7):
            batch = collate([items[(8 * step + i) % 64] for i in range(8)])
            with watch.batch(batch):
                model.loss(*batch).backward()
            optimizer.step()
            optimizer.zero_grad()
            watch.step()
            if step % 3 == 0:
                torch.save({"model": model.state_dict(), "step": step}, folder / f"step={step}.pt")
    return folder / "run" / "RankWatch.jsonl"


def again(kind, folder, records, out="replay"):
    checkpoints = str(folder / "*.pt")
    return replay(f"test_calls:{kind.__name__}", checkpoints, like=records, out=folder / out, device="cpu", say=quietly)


@pytest.mark.parametrize("kind", [One, Pair, Chain])
def test_the_runs_calls_are_made_again(kind, tmp_path):
    torch.manual_seed(0)
    sets = "first_batches"
    if kind is One:  # the audio goes into a call that was recorded beside the set
        for i in range(16):
            write_audio(tmp_path / "audio" / f"{i}.wav", 0.1 + 0.002 * i, seed=i)
        sets = AudioFolder(tmp_path / "audio", 8_000)
    records = train(kind(), tmp_path, sets)
    found = again(kind, tmp_path, records)
    assert found.steps == [3, 6]
    assert differing(records, tmp_path / "replay" / "RankWatch.jsonl", {3, 6}) <= {HISTORY}


def through_the_quantizer(model, batch):
    return model.inner(*batch)


def test_codes_are_counted_where_evaluation_passes_call_the_quantizer(tmp_path):
    """Once for each utterance of the primary set alone, though the first pass is made twice."""
    torch.manual_seed(0)
    model = Books()
    for step in (3, 6):
        torch.save({"model": model.state_dict(), "step": step}, tmp_path / f"step={step}.pt")
    batches = [collate(Noise(8, seed=seed).items) for seed in range(4)]
    sets = {"a": Loader(batches[:2], through_the_quantizer), "b": Loader(batches[2:], through_the_quantizer)}
    rows = RowSampling(n_utterances=16, brief_utterances=None)
    replay(model, str(tmp_path / "*.pt"), sets, out=tmp_path / "replay", rows=rows, device="cpu", say=quietly)
    books = read_codebooks(tmp_path / "replay" / "RankWatch.jsonl")
    assert [(one.step, one.quantizer) for one in books] == [(3, "inner.quantizer"), (6, "inner.quantizer")]
    assert {(one.protocol.mode, one.protocol.input) for one in books} == {("eval", "user")}
    frames = sum(len(lengths) * int(model.inner.encoder.frames(lengths.max())) for _, lengths in batches[:2])
    assert {one.n_assignments for one in books} == {frames}


def test_of_runs_that_did_not_note_whose_calls_they_recorded_it_is_found(tmp_path):
    torch.manual_seed(0)
    records = train(One(), tmp_path, "first_batches")
    file = records.parent / "RankWatch.eval_set.rank0.pt"
    stored = EvalSet.load(file)
    assert stored.caller == {"path": "encoder"}
    stored.caller = {}
    stored.save(file)
    again(One, tmp_path, records)
    assert differing(records, tmp_path / "replay" / "RankWatch.jsonl", {3, 6}) <= {HISTORY}
    with pytest.raises(ValueError, match="Chain has no module that can be called so: make the model as the run had it"):
        replay(Chain(), tmp_path / "step=3.pt", like=records, out=tmp_path / "other", device="cpu", say=quietly)
