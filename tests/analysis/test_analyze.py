"""One command on files of audio: models of several kinds, what is left out, what goes on after an interruption."""

import csv
import json

import clips
import numpy as np
import pytest
import torch
from speech_models import FairseqLike, hugging_face, torchaudio_hubert
from torch import nn

from rankwatch import analyze
from rankwatch.analysis.rows import collect_rows
from rankwatch.cli import main
from rankwatch.corpora import read_corpus

soundfile = pytest.importorskip("soundfile")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Forty-eight tones by four speakers, with a phone tier; each tone has three pitches."""
    return clips.corpus(tmp_path_factory.mktemp("clips"), speakers=4, each=12)


class Encoder(nn.Module):
    """A strided convolution and three transformer blocks, that take waveforms alone."""

    def __init__(self, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.front = nn.Conv1d(1, 16, 400, stride=320)
            block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
            self.blocks = nn.TransformerEncoder(block, 3, enable_nested_tensor=False)

    def forward(self, waveforms):
        return self.blocks(self.front(waveforms[:, None]).abs().transpose(1, 2))


def make_model():
    return Encoder()


@pytest.fixture(scope="module")
def found(manifest):
    return analyze(make_model(), manifest, rows=256)


def test_every_layer_has_every_measure_and_the_model_is_left_as_it_was(manifest):
    model = make_model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    analysis = analyze(model, manifest, rows=256)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    (layers,) = analysis.layers.values()
    assert [layer.path for layer in layers] == ["front", *(f"blocks.layers.{k}" for k in range(3))]
    asked = {"effective_rank": [""], "cca_squared": ["acoustics", "phone"], "probe_accuracy": ["label", "speaker"]}
    for measure, target in [(measure, target) for measure, targets in asked.items() for target in targets]:
        values = analysis.profile.find(model="Encoder", measure=measure, target=target)
        assert list(values) == [layer.label for layer in layers], measure
        assert all(np.isfinite(one.value) for one in values.values()), measure
    assert len(analysis.profile.find(model="Encoder", measure="similarity", target="L00")) == len(layers)
    assert [round(layer.cost.parameter_share, 6) for layer in layers][-1] == 1.0
    shares = [layer.cost.parameters for layer in layers]
    assert shares == sorted(shares)
    assert shares[0] == sum(p.numel() for p in model.front.parameters())


def test_pitch_is_found_behind_a_rectifier_and_not_in_the_phase_before_it(found):
    label = found.profile.find(model="Encoder", measure="probe_accuracy", target="label")
    assert label["L01"].low > label["L00"].value + 0.1
    (said,) = [sentence for sentence in found.conclusions if sentence.startswith("label:")]
    assert "best in L0" in said
    assert "L00" not in said


def test_order_of_files_and_company_change_nothing_to_the_last_digit(found, manifest, tmp_path):
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["path"] = str(manifest.parent / row["path"])
        row["alignment"] = str(manifest.parent / row["alignment"])
    clips.write(tmp_path / "manifest.csv", rows[::-1])
    corpus = read_corpus(manifest)
    turned = analyze(make_model(), type(corpus)(corpus.name, corpus.utterances[::-1]), rows=256)
    assert [one.to_plain() for one in turned.measurements] == [one.to_plain() for one in found.measurements]


def test_an_interrupted_analysis_goes_on_where_it_was(found, manifest, tmp_path, monkeypatch):
    run_one, count = collect_rows._run_one, []

    def interrupted(*arguments):
        count.append(1)
        if len(count) == 20:
            raise KeyboardInterrupt
        return run_one(*arguments)

    monkeypatch.setattr(collect_rows, "_run_one", interrupted)
    with pytest.raises(KeyboardInterrupt):
        analyze(make_model(), manifest, rows=256, out=tmp_path)
    again = analyze(make_model(), manifest, rows=256, out=tmp_path)
    assert len(count) == 49
    assert [one.to_plain() for one in again.measurements] == [one.to_plain() for one in found.measurements]
    other = analyze(Encoder(seed=1), manifest, rows=256, out=tmp_path)  # other weights: nothing is reused
    assert len(count) == 97
    assert other.measurements != found.measurements


def test_rows_of_another_way_to_run_the_model_are_not_taken_for_these(tmp_path):
    for k in range(3):
        soundfile.write(tmp_path / f"{k}.wav", 0.1 * np.random.default_rng(k).normal(size=8_000), 16_000)

    def ranks(factor):
        how = {"forward": lambda model, batch: model(factor * batch[0]), "layers": ["front", "blocks.layers.0"]}
        found = analyze(make_model(), tmp_path, rows=30, out=tmp_path / "out", **how).profile
        return [one.value for one in found.find(model="Encoder", measure="effective_rank", level="frame").values()]

    assert ranks(1.0) != ranks(0.5)
    assert len(list((tmp_path / "out" / "rows").iterdir())) == 2


def test_a_published_protocol_stands_beside_and_changes_nothing_else(found, manifest):
    analysis = analyze(make_model(), manifest, rows=256, preset="pasad")
    for measure in ("pwcca_published", "pwcca_utterances_apart"):
        for target, n in (("acoustics", 288), ("phone", 96)):
            values = analysis.profile.find(model="Encoder", measure=measure, target=target)
            assert list(values) == ["L00", "L01", "L02", "L03"]
            assert all((one.n, one.utterances) == (n, 48) and -1.0 <= one.value <= 1.0 for one in values.values())
    header = analysis.table().splitlines()[0]
    assert "phone PWCCA  phone PWCCA utt." in header
    assert "word" not in header
    assert analysis.protocol["spans_by_label"] == {"phone": 96, "word": 15}
    assert any("pwcca_published of word: " in note for note in analysis.profile.notes)
    others = [one.to_plain() for one in analysis.measurements if not one.measure.startswith("pwcca")]
    assert others == [one.to_plain() for one in found.measurements]


def test_two_models_are_compared_at_the_same_frames(manifest):
    analysis = analyze({"one": Encoder(0), "other": Encoder(1)}, manifest, rows=256)
    pairs = analysis.profile.find(model="one", measure="similarity", target="other/L00")
    assert set(pairs) == {"L00", "L01", "L02", "L03"}
    assert {one.target for one in analysis.decision.choices} >= {"label", "speaker"}
    assert analysis.table("other").startswith("layer")


@pytest.mark.parametrize(
    "make", [lambda: hugging_face("Wav2Vec2Config", "Wav2Vec2Model"), torchaudio_hubert, FairseqLike]
)
def test_models_of_packages_need_nothing_said(make, manifest):
    analysis = analyze(make(), manifest, n_utterances=20, rows=40)
    (layers,) = analysis.layers.values()
    assert len(layers) >= 3
    assert all(one.value > 0 for one in analysis.profile.find(
        model=next(iter(analysis.layers)), measure="effective_rank", level="frame").values())  # fmt: skip


def test_files_without_labels_and_a_broken_one_say_what_is_known(tmp_path):
    generator = np.random.default_rng(0)
    for k in range(20):
        soundfile.write(tmp_path / f"{k}.wav", 0.1 * generator.normal(size=8000), 16_000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF not at all")
    soundfile.write(tmp_path / "nan.wav", np.full(8000, np.nan, dtype="float32"), 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "short.wav", np.full(100, 0.1), 16_000)
    with pytest.warns(UserWarning, match="left out"):
        analysis = analyze(make_model(), tmp_path, rows=100)
    for name in ("broken.wav", "nan.wav", "short.wav"):
        assert sum(name in note for note in analysis.profile.notes) == 1
    (said,) = analysis.conclusions
    assert "without labels, which layer is best isn't known" in said


def test_a_long_recording_is_taken_in_pieces(tmp_path):
    soundfile.write(tmp_path / "long.wav", 0.1 * np.random.default_rng(0).normal(size=16_000 * 40), 16_000)
    analysis = analyze(make_model(), tmp_path, rows=200, max_seconds=2.0)
    assert analysis.protocol["utterances"] == 20
    rank = analysis.profile.find(model="Encoder", measure="effective_rank", level="frame")["L00"]
    assert (rank.utterances, rank.grouped_by, rank.speakers) == (20, "utterances", None)


def test_the_command_writes_what_it_says(manifest, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(manifest.parent))
    (manifest.parent / "its_model.py").write_text(
        "import torch\nfrom torch import nn\n\n\ndef make():\n    torch.manual_seed(0)\n"
        "    blocks = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)\n"
        "    class Model(nn.Module):\n"
        "        def __init__(self):\n            super().__init__()\n"
        "            self.front, self.blocks = nn.Conv1d(1, 8, 400, stride=320), blocks\n"
        "        def forward(self, x):\n            return self.blocks(self.front(x[:, None]).transpose(1, 2))\n"
        "    return Model()\n"
    )
    status = main(
        ["analyze", "its_model:make", "--audio", str(manifest), "--rows", "100", "--tensorboard", "-o", str(tmp_path)]
    )
    out = capsys.readouterr()
    assert status == 0
    assert "label probe" in out.out
    lines = [json.loads(line) for line in (tmp_path / "profile.jsonl").read_text().splitlines()]
    assert lines[0]["kind"] == "protocol"
    assert lines[0]["models"]["its_model:make"]["call"].startswith("Model")
    with (tmp_path / "profile.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(lines) - 1
    assert (tmp_path / "conclusions.txt").read_text().count("label:") >= 1
    assert len(list((tmp_path / "tensorboard" / "its_model-make").glob("events.*"))) == 1


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("no_module:make", "names no function"),
        ("clips:corpus@nothing.ckpt", "there is no checkpoint"),
        ("NO_BUNDLE", "torchaudio"),
        ("./nothing", "is no model: expected module:factory"),
    ],
)
def test_a_model_that_is_not_there_is_refused_in_words(model, message, manifest, capsys):
    assert main(["analyze", model, "--audio", str(manifest)]) == 2
    assert message in capsys.readouterr().err


def test_wrong_arguments_are_refused_before_anything_is_run(manifest, monkeypatch):
    monkeypatch.setattr(Encoder, "forward", None)
    for arguments, message in (
        ({"rows": 0}, "rows must be a whole number"),
        ({"max_seconds": -1.0}, "max_seconds must be"),
        ({"span_convention": "thirds"}, "span_convention must be 'frame_centres' or 'pasad'"),
        ({"preset": "yang"}, "preset must be 'pasad', 'slue', or None"),
        ({"targets": ["dialect"]}, "targets: nothing in the corpus is called 'dialect'"),
        ({"groups": ["phone"]}, "groups: nothing in the corpus is called 'phone'"),
        ({"weights": {"dialect": 1.0}}, "weights: nothing in the corpus is called 'dialect'"),
        ({"weights": {"phone": -1.0}}, "none negative"),
        ({"weights": {"phone": "much"}}, "weights must be numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            analyze(make_model(), manifest, n_utterances=20, **({"rows": 40} | arguments))
    with pytest.raises(ValueError, match="model must be"):
        analyze(3, manifest)
    with pytest.raises(ValueError, match="at least one model by name"):
        analyze({}, manifest)
    with pytest.raises(ValueError, match="audio must be"):
        analyze(make_model(), 3)


def test_a_model_that_cannot_be_run_says_what_to_pass(manifest):
    class NeedsMore(Encoder):
        def forward(self, waveforms, prompt):
            return super().forward(waveforms + prompt)

    with pytest.raises(ValueError, match="pass forward=f"):
        analyze(NeedsMore(), manifest, rows=40)
    given = analyze(NeedsMore(), manifest, rows=40, forward=lambda model, batch: model(batch[0], torch.zeros(1)))
    assert given.protocol["models"]["NeedsMore"]["call"] == "your forward"
