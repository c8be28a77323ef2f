"""Where layers are tapped, on real classes of all kinds and on blocks whose end is plain to see."""

import copy

import pytest
import torch
from speech_models import WIDTH, FairseqLike, Fires, audio, hugging_face, torchaudio_hubert
from torch import nn
from torch.nn import functional

from rankwatch.extraction.hooks.safe_hooks import eager
from rankwatch.extraction.model.layers import find_layers
from rankwatch.extraction.taps.tap_finder import TapFinder
from rankwatch.extraction.valid_frames.layer_outputs import unpack
from rankwatch.extraction.valid_frames.layouts import fitting_part_first

B, T = 3, 20
X = torch.randn(B, T, WIDTH, generator=torch.Generator().manual_seed(0))
WAVES = audio((1600, 900, 1234))[0]
WAV2VEC2 = ("Wav2Vec2Config", "Wav2Vec2Model")


def hidden(name, output):
    return unpack(output)[0]


def found(model, *args, layers="auto", **kwargs):
    """The taps, by layer; checks that the pass gave what it gives otherwise, and that no hook is left."""
    model.eval()
    finder = TapFinder(model, find_layers(model, layers), hidden)
    with torch.no_grad(), eager():
        torch.manual_seed(0)
        with Fires(finder._layers):  # torch's encoder takes another path where there are hooks
            plain = model(*args, **kwargs)
        torch.manual_seed(0)
        with finder.listening():
            watched = model(*args, **kwargs)
    for before, after in zip(tensors(plain), tensors(watched), strict=True):
        assert torch.equal(before, after)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    return finder.taps


def tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else []
    return [tensor for one in inner for tensor in tensors(one)]


def ends(taps):
    """What the front end and the blocks are tapped at."""
    return set(taps.values())


class Stack(nn.Module):
    """Blocks, one after the other."""

    def __init__(self, *blocks):
        super().__init__()
        self.layers = nn.ModuleList(blocks)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


@pytest.mark.parametrize("norm_first", [False, True])
def test_torchaudio(norm_first):
    model = torchaudio_hubert(encoder_layer_norm_first=norm_first).wav2vec2
    taps = found(model, WAVES, torch.tensor([1600, 900, 1234]))
    assert taps.pop("feature_extractor") == "activation"
    assert list(taps) == [f"encoder.transformer.layers.{i}" for i in range(3)]
    assert ends(taps) == {"residual_sum" if norm_first else "norm"}


@pytest.mark.parametrize(
    ("config", "model", "changes", "expected"),
    [
        (*WAV2VEC2, {}, "norm"),
        (*WAV2VEC2, {"do_stable_layer_norm": True}, "residual_sum"),
        ("HubertConfig", "HubertModel", {"do_stable_layer_norm": True}, "residual_sum"),
        ("WavLMConfig", "WavLMModel", {}, "norm"),
        ("Data2VecAudioConfig", "Data2VecAudioModel", {}, "norm"),
        ("Wav2Vec2ConformerConfig", "Wav2Vec2ConformerModel", {}, "norm"),
    ],
)
def test_hugging_face(config, model, changes, expected):
    model = hugging_face(config, model, **changes)
    taps = found(model, WAVES, attention_mask=(torch.arange(1600) < torch.tensor([[1600], [900], [1234]])).long())
    assert taps.pop("feature_extractor") == "activation"
    assert len(taps) == 3
    assert ends(taps) == {expected}


def test_sublayers_are_tapped_before_the_sum():
    layers = ["feature_projection", "*.pos_conv_embed", "*.attention", "*.feed_forward", "*.final_layer_norm"]
    for stable, final in ((False, "norm"), (True, "norm")):
        taps = found(hugging_face(*WAV2VEC2, do_stable_layer_norm=stable), WAVES, layers=["auto", *layers])
        assert {tap for name, tap in taps.items() if name.endswith((".attention", ".feed_forward"))} == {"before_sum"}
        assert taps["encoder.pos_conv_embed"] == "before_sum"
        assert taps["feature_projection"] == "linear"
        assert {tap for name, tap in taps.items() if name.endswith(".final_layer_norm")} == {final}


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_torchs_own_encoder(norm_first, padded):
    """With and without the nested tensors that it makes of padded batches."""
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 32, batch_first=True, norm_first=norm_first)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=not norm_first)
    mask = {"src_key_padding_mask": torch.arange(T) >= torch.tensor([[20], [15], [7]])} if padded else {}
    assert ends(found(model, X, **mask)) == {"residual_sum" if norm_first else "norm"}
    taps = found(model, X, layers=["layers.*.linear2", "layers.*.self_attn"], **mask)
    assert ends(taps) == {"before_sum"}


@pytest.mark.parametrize("norm_first", [False, True])
def test_the_fast_path_in_one_operation(norm_first, monkeypatch):
    """It is taken where no hook is on the layer itself."""
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 32, batch_first=True, norm_first=norm_first)

    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = copy.deepcopy(layer)

        def forward(self, x):
            return self.inner(x)

    taps = found(Stack(Around(), Around()), X, layers=["layers.0", "layers.1"])
    assert taps == dict.fromkeys(("layers.0", "layers.1"), "residual_sum" if norm_first else "norm")
    seen = []
    monkeypatch.setattr("rankwatch.extraction.taps.tensor_origins.role_of", lambda name: seen.append(name) or "other")
    found(Stack(Around()), X, layers=["layers.0"])
    assert seen == ["_transformer_encoder_layer_fwd"]


def test_torchaudios_conformer():
    models = pytest.importorskip("torchaudio.models")
    model = models.Conformer(WIDTH, 2, 32, 2, 3)
    assert ends(found(model, X, torch.tensor([20, 15, 11]))) == {"norm"}
    assert ends(found(model, X, torch.tensor([20, 15, 11]), layers=["*.self_attn"])) == {"before_sum"}


@pytest.mark.parametrize("norm_first", [False, True])
def test_speechbrain(norm_first):
    module = pytest.importorskip("speechbrain.lobes.models.transformer.Transformer")
    model = module.TransformerEncoder(2, 2, 32, d_model=WIDTH, normalize_before=norm_first)
    assert ends(found(model, X)) == {"residual_sum" if norm_first else "norm"}


def test_fairseq():
    taps = found(FairseqLike(), source=WAVES, layers=["auto", "*.fc2"])
    assert taps == {
        "feature_extractor": "linear",
        **{f"blocks.{i}": "norm" for i in range(2)},
        **{f"blocks.{i}.fc2": "before_sum" for i in range(2)},
    }


def test_recurrent_layers():
    assert ends(found(Stack(nn.Linear(WIDTH, WIDTH), nn.GRU(WIDTH, WIDTH)), X[0], layers=["layers.1"])) == {"other"}


@pytest.mark.parametrize(
    ("config", "model", "sizes", "expected"),
    [
        ("MambaConfig", "MambaModel", {"hidden_size": 16, "state_size": 4, "vocab_size": 8}, "residual_sum"),
        ("ResNetConfig", "ResNetModel", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [2, 2]}, "activation"),
        (
            "ConvNextConfig",
            "ConvNextModel",
            {"hidden_sizes": [8, 16], "depths": [2, 2], "num_stages": 2},
            "residual_sum",
        ),
    ],
)
def test_other_encoders(config, model, sizes, expected):
    transformers = pytest.importorskip("transformers")
    if config == "MambaConfig":
        built = getattr(transformers, config)(num_hidden_layers=2, **sizes)
        inputs = torch.randint(0, 8, (2, 6))
    else:
        built = getattr(transformers, config)(num_channels=3, **sizes)
        inputs = torch.randn(2, 3, 32, 32)
    model = getattr(transformers, model)(built)
    taps = found(model, inputs)
    blocks = {layer.name for layer in find_layers(model) if layer.kind == "block"}
    assert {tap for name, tap in taps.items() if name in blocks} == {expected}


class Rms(nn.Module):
    """A norm that isn't called one."""

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


class RmsNorm(Rms):
    """The same that is."""


class WrittenOutNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(WIDTH)), nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x):
        x = x - x.mean(-1, keepdim=True)
        return x / x.std(-1, keepdim=True) * self.weight + self.bias


class Branch(nn.Module):
    """One linear map, with something done to it and around it."""

    def __init__(self, end):
        super().__init__()
        self.linear, self.dropout, self.end = nn.Linear(WIDTH, WIDTH), nn.Dropout(0.5), end
        self.scale = nn.Parameter(torch.full((WIDTH,), 0.5))
        self.norm, self.batch_norm = nn.LayerNorm(WIDTH), nn.BatchNorm1d(WIDTH)
        self.rms, self.rms_norm, self.written_out_norm = Rms(), RmsNorm(), WrittenOutNorm()

    def forward(self, x):
        return self.end(self, x, self.dropout(self.linear(x)))


DIRECTION = torch.ones(WIDTH)
KEEP = torch.arange(T)[None, :, None] < torch.tensor([20, 15, 7])[:, None, None]


def padded_out(x):
    x = x.clone()
    x[~KEEP.expand_as(x)] = 0
    return x


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (lambda m, x, y: x + y, "residual_sum"),
        (lambda m, x, y: y + 0.5 * x, "residual_sum"),
        (lambda m, x, y: x.add(y, alpha=0.5), "residual_sum"),
        (lambda m, x, y: x + m.scale * y, "residual_sum"),
        (lambda m, x, y: torch.addcmul(x, m.scale, y), "residual_sum"),
        (lambda m, x, y: y.add_(x), "residual_sum"),
        (lambda m, x, y: (x + y).transpose(0, 1).contiguous(), "residual_sum"),
        (lambda m, x, y: (x + y).bfloat16(), "residual_sum"),
        (lambda m, x, y: (x + y) * KEEP, "residual_sum"),
        (lambda m, x, y: (x + y) * KEEP.expand_as(x).float(), "residual_sum"),
        (lambda m, x, y: (x + y).masked_fill(~KEEP, 0), "residual_sum"),
        (lambda m, x, y: padded_out(x + y), "residual_sum"),
        (lambda m, x, y: torch.where(KEEP, x + y, 0.0), "residual_sum"),
        (lambda m, x, y: functional.pad(x + y, (0, 0, 0, 2)), "residual_sum"),
        (lambda m, x, y: (x + y, y), "residual_sum"),
        (lambda m, x, y: {"x": x + y, "weights": None}, "residual_sum"),
        (lambda m, x, y: m.norm(x + y), "norm"),
        (lambda m, x, y: m.dropout(m.norm(x + y)).transpose(0, 1), "norm"),
        (lambda m, x, y: functional.layer_norm((x + y).float(), (WIDTH,)).type_as(x), "norm"),
        (lambda m, x, y: m.written_out_norm(x + y), "norm"),
        (lambda m, x, y: m.rms_norm(x + y), "norm"),
        (lambda m, x, y: m.batch_norm((x + y).transpose(1, 2)), "norm"),
        (lambda m, x, y: functional.relu(x + y), "activation"),
        (lambda m, x, y: functional.gelu(y), "activation"),
        (lambda m, x, y: y, "linear"),
        (lambda m, x, y: y + m.scale, "linear"),
        (lambda m, x, y: m.scale * y, "linear"),
        (lambda m, x, y: (x + y)[..., :1] * DIRECTION, "residual_sum"),  # a block that has collapsed ends as before
        (lambda m, x, y: x.sigmoid() * y, "other"),
        (lambda m, x, y: x + y.mean(1, keepdim=True), "other"),
        (lambda m, x, y: m.rms(x + y), "other"),  # no operation says that it is a norm, nor does its name
        (lambda m, x, y: functional.avg_pool1d(y, 2), "other"),
        (lambda m, x, y: torch.empty_like(x), "unknown"),
    ],
)
def test_what_a_block_ends_with(end, expected):
    module = Branch(end)
    if expected == "unknown":
        finder = TapFinder(module, find_layers(Stack(module), ["layers.0"]), hidden)
        with torch.no_grad(), finder.listening():
            module.eval()(X)
        assert finder.taps == {"layers.0": "unknown"}
        return
    assert found(Stack(module), X, layers=["layers.0"]) == {"layers.0": expected}


def test_the_first_block_is_given_features_that_come_from_outside():
    assert found(Stack(Branch(lambda m, x, y: x[:, :5] + y[:, :5])), X, layers=["*.0"])["layers.0"] == "residual_sum"


def test_what_ends_with_a_norm_is_a_branch_only_by_what_comes_next():
    """A sandwich's inner norm is added to the residual path, a block's last norm isn't."""
    branch, end = (lambda m, x, y: m.norm(y)), (lambda m, x, y: x + y)

    class Sandwich(nn.Module):
        def __init__(self):
            super().__init__()
            self.branch, self.next = Branch(branch), Branch(end)

        def forward(self, x):
            return self.next(x + self.branch(x))

    taps = found(Stack(Sandwich()), X, layers=["*.branch", "*.next"])
    assert taps == {"layers.0.branch": "before_sum", "layers.0.next": "residual_sum"}


def test_a_patch_before_the_hidden_states_is_passed_over():
    module = Branch(lambda m, x, y: (y.mean(1), m.norm(x + y)))
    layers = find_layers(Stack(module), ["layers.0"])
    finder = TapFinder(module, layers, lambda name, out: unpack(fitting_part_first(out, module, "block", B))[0])
    with torch.no_grad(), finder.listening():
        module.eval()(X)
    assert finder.taps == {"layers.0": "norm"}


def test_what_goes_wrong_is_unknown_and_no_error(monkeypatch):
    model = Stack(Branch(lambda m, x, y: x + y))

    def broken(*_):
        raise RuntimeError("made up")

    monkeypatch.setattr("rankwatch.extraction.taps.tensor_origins.role_of", broken)
    assert found(model, X, layers=["layers.0"]) == {}
    monkeypatch.undo()
    finder = TapFinder(model, find_layers(model, ["layers.0"]), broken)
    with torch.no_grad(), finder.listening():
        model(X)
    assert finder.taps == {}
    monkeypatch.setattr("rankwatch.extraction.hooks.hook_handles.HookHandles.after_call", broken)
    assert found(model, X, layers=["layers.0"]) == {}


def test_an_exception_of_the_model_goes_through_and_leaves_nothing():
    def fail(module, x, y):
        raise ValueError("the user's own")

    model = Stack(Branch(fail))
    with pytest.raises(ValueError, match="the user's own"):
        found(model, X, layers=["layers.0"])
    finder = TapFinder(model, find_layers(model, ["layers.0"]), hidden)
    with pytest.raises(ValueError, match="the user's own"), finder.listening():
        model(X)
    assert not any(m._forward_hooks for m in model.modules())
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None
