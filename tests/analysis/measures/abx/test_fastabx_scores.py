"""fastabx's numbers are those of the definition, and of fastabx run by hand on the same features."""

import numpy as np
import plain_abx
import pytest
import torch
from torch import nn

from rankwatch import analyze
from rankwatch.analysis.measures.abx import fastabx_scores
from rankwatch.analysis.measures.abx.fastabx_scores import NEXT, ON, PREVIOUS, SPEAKER, AbxCells, missing_fastabx
from rankwatch.corpora import Corpus, Span, Utterance

RATE = 16_000


def tokens(count, seed=0):
    """Sequences of one to four frames of three phones by three speakers in two contexts."""
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 5, (count,), generator=g).tolist()
    columns = {
        ON: ["abc"[k % 3] for k in range(count)],
        PREVIOUS: ["xy"[k // 3 % 2] for k in range(count)],
        NEXT: ["z"] * count,
        SPEAKER: [f"s{k // 6 % 3}" for k in range(count)],
    }
    codes = torch.randn(3, 8, generator=g)
    frames = [codes[k % 3] + 1.5 * torch.randn(n, 8, generator=g) for k, n in enumerate(lengths)]
    return torch.cat(frames), lengths, columns


CONDITIONS = [
    ((), ()),
    ((SPEAKER,), ()),
    ((), (SPEAKER,)),
    ((PREVIOUS, NEXT), ()),
    ((PREVIOUS, NEXT, SPEAKER), ()),
    ((PREVIOUS, NEXT), (SPEAKER,)),
]


@pytest.mark.parametrize(("by", "across"), CONDITIONS)
def test_scores_are_those_of_the_definition(by, across):
    pytest.importorskip("fastabx")
    frames, lengths, columns = tokens(30)  # ten of each phone: all are taken
    before = frames.clone()
    found = fastabx_scores.abx_cells(frames, lengths, columns, by=by, across=across, seed=0)
    expected = plain_abx.abx_cells(frames, lengths, columns, by=by, across=across, seed=0)
    assert torch.equal(frames, before)
    assert len(found.errors) == len(expected.errors)
    assert 0.05 < expected.error < 0.45
    assert found.error == pytest.approx(expected.error, abs=1e-6)
    assert found.collapsed(np.ones(len(found.errors), dtype=bool)) == pytest.approx(found.error, abs=1e-6)
    without = [one.collapsed((one.speakers != "s1") & (one.x_speakers != "s1")) for one in (found, expected)]
    assert without[0] == pytest.approx(without[1], abs=1e-6)


def test_nothing_to_compare_is_no_error():
    pytest.importorskip("fastabx")
    columns = {ON: ["a", "b"], PREVIOUS: [""] * 2, NEXT: [""] * 2, SPEAKER: ["s", "s"]}
    found = fastabx_scores.abx_cells(torch.randn(2, 4), [1, 1], columns, by=(SPEAKER,), across=(), seed=0)
    assert np.isnan(found.error)
    assert not len(found.errors)


def test_a_layer_without_any_span_that_is_all_numbers_is_no_error():
    columns = {name: [] for name in (ON, PREVIOUS, NEXT, SPEAKER)}
    found = fastabx_scores.abx_cells(torch.zeros(0, 4), [], columns, by=(SPEAKER,), across=(), seed=0)
    assert np.isnan(found.error)
    assert not len(found.errors)


class Encoder(nn.Module):
    """Fifty frames a second, the first of the first 20 ms, as the files of ZeroSpeech have it."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.front = nn.Conv1d(1, 16, 320, stride=320)
            block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)

    def forward(self, x):
        return self.blocks(self.front(x[:, None]).abs().transpose(1, 2))


@pytest.fixture
def corpus(tmp_path):
    """Eight utterances of two speakers, each with seven spans of three labels, whose pitches differ."""
    soundfile = pytest.importorskip("soundfile")
    g = np.random.default_rng(0)
    labels = [g.permutation(list("a" * 10 + "b" * 9 + "c" * 9)) for _ in range(2)]  # of each so few that all are taken
    utterances = []
    for k in range(8):
        spans, wave, at = [], [], 0.0
        for label in labels[k % 2][7 * (k // 2) : 7 * (k // 2) + 7]:
            seconds = round(float(g.uniform(0.06, 0.14)), 3)
            t = np.arange(round(seconds * RATE)) / RATE
            pitch = {"a": 300, "b": 420, "c": 1500}[str(label)] * g.uniform(0.8, 1.2)
            wave.append(0.1 * np.sin(2 * np.pi * pitch * t) + 0.05 * g.normal(size=len(t)))
            spans.append(Span(round(at, 3), round(at + seconds, 3), str(label)))
            at += seconds
        soundfile.write(tmp_path / f"u{k}.wav", np.concatenate([*wave, np.zeros(640)]), RATE)
        utterances.append(
            Utterance(f"u{k}", tmp_path / f"u{k}.wav", speaker=f"s{k % 2}", spans={"phone": tuple(spans)})
        )
    return Corpus("made up", tuple(utterances))


@pytest.mark.parametrize("context", ["within", "any"])
def test_an_analysis_says_what_fastabx_says_of_the_same_features_in_files(corpus, context, tmp_path):
    fastabx = pytest.importorskip("fastabx")
    model = Encoder().eval()
    found = analyze(model, corpus, rows=200, abx="phone", abx_context=context).profile
    lines = ["#file onset offset #phone prev-phone next-phone speaker"]
    for one in corpus.utterances:
        with torch.no_grad():
            wave = corpus.read(one, RATE)
            torch.save(model(wave[None])[0], tmp_path / f"{one.id}.pt")
        own = one.spans["phone"]
        for k, span in enumerate(own):
            around = [own[m].label if 0 <= m < len(own) else "SIL" for m in (k - 1, k + 1)]
            lines.append(" ".join([one.id, f"{span.start:.3f}", f"{span.end:.3f}", span.label, *around, one.speaker]))
    (tmp_path / "phones.item").write_text("\n".join(lines) + "\n")
    for mode in ("within", "across"):
        by_hand = fastabx.zerospeech_abx(
            tmp_path / "phones.item", tmp_path, max_size_group=None, max_x_across=None, speaker=mode, context=context,
            progress=False,
        )  # fmt: skip
        name = {"within": "abx_error_within_speaker", "across": "abx_error_across_speakers"}[mode]
        ours = found.find(model="Encoder", measure=name, target="phone")["L02"]
        assert ours.value == pytest.approx(by_hand, abs=1e-6)
        assert 0.0 < ours.value < 1.0


def test_cells_are_averaged_over_contexts_then_speakers_then_pairs():
    errors = np.array([0.0, 0.2, 0.4, 1.0, 0.6])
    pairs, speakers = np.array([0, 0, 0, 0, 1]), np.array(["s", "s", "s", "t", "t"])
    cells = AbxCells(0.0, errors, pairs, speakers, speakers, within_context=True)
    every = np.ones(5, dtype=bool)
    assert cells.collapsed(every) == pytest.approx(np.mean([np.mean([0.2, 1.0]), 0.6]))
    anyhow = AbxCells(0.0, errors, pairs, speakers, speakers, within_context=False)
    assert anyhow.collapsed(every) == pytest.approx(np.mean([0.4, 0.6]))
    assert cells.collapsed(speakers == "s") == pytest.approx(0.2)
    assert np.isnan(cells.collapsed(~every))


@pytest.mark.parametrize(("version", "more"), [((3, 11), "in Python 3.12 or later"), ((3, 13), "")])
def test_where_fastabx_is_missing_it_says_what_to_install(corpus, monkeypatch, version, more):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("sys.version_info", version)
    said = missing_fastabx()
    assert said.startswith("ABX is measured by fastabx, which isn't installed: pip install 'fastabx>=0.9'")
    assert more in said
    assert more or "Python" not in said
    with pytest.raises(ImportError, match="pip install 'fastabx"):
        analyze(Encoder(), corpus, abx="phone")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"abx": 3}, "abx must be a tier of the alignments"),
        ({"abx": [3]}, "abx must be a tier"),
        ({"abx": "phone", "abx_context": "triphone"}, "abx_context must be 'auto', 'within' or 'any'"),
        ({"abx": ["phone", "syllable"]}, "abx: nothing in the corpus is called 'syllable'; there are \\['phone'\\]"),
    ],
)
def test_wrong_arguments_are_refused(corpus, arguments, message, monkeypatch):
    monkeypatch.setattr("rankwatch.analysis.checked_arguments.missing_fastabx", lambda: "")
    with pytest.raises(ValueError, match=message):
        analyze(Encoder(), corpus, **arguments)


def test_the_plain_one_warps_time():
    slow = np.eye(4)[[0, 0, 1, 1, 2]]
    assert plain_abx.warped(slow, np.eye(4)[[0, 1, 2]]) == pytest.approx(0.0)
    assert plain_abx.warped(slow, np.eye(4)[[3]]) == pytest.approx(0.5)
