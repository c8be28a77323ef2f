"""What layers return, and which of its axes is which."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from speech_models import WIDTH, Fires, audio, hugging_face, torchaudio_wav2vec2, torchaudio_wavlm
from torch import Tensor, nn

from rankwatch.extraction.model.layers import WatchedLayer, find_layers
from rankwatch.extraction.valid_frames.layer_outputs import LayoutError, OutputError, to_btc, unpack
from rankwatch.extraction.valid_frames.layouts import fitting_part_first

X = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([5, 3])


def layer_of(module: nn.Module, kind: str = "block") -> WatchedLayer:
    return WatchedLayer("it", module, kind, "student", "L01")  # type: ignore[arg-type]


@dataclass
class Output:
    last_hidden_state: Tensor
    extract_features: Tensor
    lengths: Tensor | None = None


Named = namedtuple("Named", "hidden lengths")


class TestUnpack:
    @pytest.mark.parametrize(
        "output",
        [
            X,
            (X,),
            [X, None],
            (X, None),
            (X, torch.rand(2, 2, 5, 5)),
            (X, torch.rand(2)),
            (X, (torch.rand(2, 5, 5), None)),
            ((X, torch.rand(1, 9, 4)), None),
            {"last_hidden_state": X, "extract_features": torch.rand(2, 5, 7)},
            {"whatever": X},
            Output(X, torch.rand(2, 5, 7)),
        ],
    )
    def test_hidden_states_without_lengths(self, output: object) -> None:
        hidden, lengths = unpack(output)
        assert hidden is X
        assert lengths is None

    @pytest.mark.parametrize(
        "output",
        [
            (X, LENGTHS),
            (X, None, LENGTHS.int()),
            ((X, LENGTHS), None),
            Named(X, LENGTHS),
            Output(X, torch.rand(2, 5, 7), LENGTHS),
            {"encoder_out": X, "encoder_out_lens": LENGTHS},
            (X, torch.arange(5) < LENGTHS[:, None]),
            (X, torch.arange(5) >= LENGTHS[:, None]),
            ((X, torch.rand(1, 9, 4)), (torch.arange(5) < LENGTHS[:, None])[:, None]),
        ],
    )
    def test_the_modules_own_lengths(self, output: object) -> None:
        hidden, lengths = unpack(output)
        assert hidden is X
        assert lengths is not None
        assert lengths.tolist() == [5, 3]

    def test_an_ssl_mask_is_no_length(self) -> None:
        mask = torch.tensor([[0, 1, 1, 0, 0], [0, 0, 1, 0, 1]]).bool()
        assert unpack((X, mask))[1] is None

    def test_channels_first_beside_lengths(self) -> None:
        assert unpack((X.transpose(1, 2), LENGTHS))[1] is LENGTHS

    @pytest.mark.parametrize("output", [None, 3.0, (), {}, LENGTHS, (None, X), {"a": X, "b": X}, torch.tensor(1.0)])
    def test_anything_else_is_refused_by_what_came(self, output: object) -> None:
        with pytest.raises(OutputError, match=r"None|float|tuple|dict|tensor"):
            unpack(output)

    def test_hugging_face_output(self) -> None:
        model = hugging_face("Wav2Vec2Config", "Wav2Vec2Model")
        with torch.no_grad():
            output = model(audio((400, 300))[0])
        assert unpack(output)[0] is output.last_hidden_state

    def test_nested_tensors_of_the_encoders_fast_path(self) -> None:
        """In eval mode with a padding mask, nn.TransformerEncoder hands nested tensors from block to block."""
        encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2).eval()
        padding = torch.arange(5) >= torch.tensor([4, 3])[:, None]
        with Fires(find_layers(encoder)) as fires, torch.no_grad():
            whole = encoder(X, src_key_padding_mask=padding)
        output = fires.outputs["layers.1"]
        assert output.is_nested
        hidden, lengths = unpack(output)
        assert lengths is not None
        assert lengths.tolist() == [4, 3]
        for row, expected, valid in zip(hidden, whole, [4, 3], strict=True):
            torch.testing.assert_close(row[:valid], expected[:valid])


class TestThreeAxes:
    @pytest.mark.parametrize(
        ("shape", "layout"),
        [((3, 11, WIDTH), "(B, T, C)"), ((3, WIDTH, 11), "(B, C, T)"), ((11, 3, WIDTH), "(T, B, C)")],
    )
    def test_width_and_batch_size_tell(self, shape: tuple[int, ...], layout: str) -> None:
        layer = layer_of(nn.ModuleList([nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 99)]))
        hidden = torch.randn(shape)
        found, name = to_btc(hidden, batch_size=3, layer=layer)
        assert (tuple(found.shape), name) == ((3, 11, WIDTH), layout)
        assert found.data_ptr() == hidden.data_ptr()
        for b, t in ((0, 4), (2, 10)):
            axes = {"(B, T, C)": (b, t), "(B, C, T)": (b, slice(None), t), "(T, B, C)": (t, b)}
            assert torch.equal(found[b, t], hidden[axes[layout]])

    @pytest.mark.parametrize("batch_first", [True, False])
    def test_as_many_frames_as_utterances_batch_first_tells(self, batch_first: bool) -> None:
        layer = layer_of(nn.TransformerEncoderLayer(16, 2, 32, batch_first=batch_first))
        hidden = torch.randn(6, 6, 16)
        found, name = to_btc(hidden, batch_size=6, layer=layer)
        assert name == ("(B, T, C)" if batch_first else "(T, B, C)")
        assert torch.equal(found, hidden if batch_first else hidden.transpose(0, 1))

    def test_as_many_frames_as_utterances_without_a_witness(self) -> None:
        layer = layer_of(nn.LayerNorm(16))
        with pytest.raises(LayoutError, match=r"'it'.*\(6, 6, 16\).*\(B, T, C\) or \(T, B, C\)"):
            to_btc(torch.randn(6, 6, 16), batch_size=6, layer=layer)
        assert to_btc(torch.randn(6, 6, 16), batch_size=6, layer=layer, known="(T, B, C)")[1] == "(T, B, C)"

    @pytest.mark.parametrize("size", [2, WIDTH])
    def test_as_many_frames_as_channels_in_a_block(self, size: int) -> None:
        """The last step of a block is a layer norm, which works on the last axis."""
        for model in (hugging_face("HubertConfig", "HubertModel"), torchaudio_wavlm()):
            layer = find_layers(model)[1]
            hidden = torch.randn(size, WIDTH, WIDTH)
            assert to_btc(hidden, batch_size=size, layer=layer)[1] == "(B, T, C)"

    def test_as_many_frames_as_channels_in_a_front_end(self) -> None:
        hidden = torch.randn(2, 16, 16)
        known = [(torchaudio_wav2vec2(), "(B, T, C)"), (hugging_face("WavLMConfig", "WavLMModel"), "(B, C, T)")]
        for model, layout in known:
            assert to_btc(hidden, batch_size=2, layer=find_layers(model)[0])[1] == layout
        bare = nn.Conv1d(1, 16, 3, 2)
        assert to_btc(hidden, batch_size=2, layer=layer_of(bare, "frontend"))[1] == "(B, C, T)"
        with pytest.raises(LayoutError, match="could be"):
            to_btc(hidden, batch_size=2, layer=layer_of(nn.ModuleList([bare]), "frontend"))

    def test_embeddings_of_patches_have_the_channels_last(self) -> None:
        embeddings = hugging_face("ViTConfig", "ViTModel").embeddings
        layer = layer_of(embeddings, "frontend")
        width = embeddings.patch_embeddings.projection.out_channels
        assert to_btc(torch.randn(2, width, width), batch_size=2, layer=layer)[1] == "(B, T, C)"

    def test_expected_frames_tell_where_no_parameter_does(self) -> None:
        layer = layer_of(nn.GELU(), "other")
        assert to_btc(torch.randn(2, 8, 20), batch_size=2, layer=layer, frames=[20])[1] == "(B, C, T)"
        with pytest.raises(LayoutError, match="could be"):
            to_btc(torch.randn(2, 8, 20), batch_size=2, layer=layer)

    @pytest.mark.parametrize("shape", [(5, 7, 9), (3, 7, 9), (3, 24), (3,), (3, 7, 24, 2, 2)])
    def test_what_fits_nothing_is_refused(self, shape: tuple[int, ...]) -> None:
        layer = layer_of(nn.LayerNorm(WIDTH))
        with pytest.raises(LayoutError, match=r"fits no known layout \(batch size 3, widths .*\[24\]"):
            to_btc(torch.randn(shape), batch_size=3, layer=layer)

    def test_where_no_axis_is_the_batch_no_layout_is_advised(self) -> None:
        """Packed utterances, or windows that were folded into the batch."""
        for shape in ((1, 40, WIDTH), (40, WIDTH), (12, 10, WIDTH)):
            with pytest.raises(LayoutError, match=r"none of its axes is the batch.*leave it out") as refused:
                to_btc(torch.randn(shape), batch_size=3, layer=layer_of(nn.LayerNorm(WIDTH)))
            assert "layouts" not in str(refused.value)


class TestFourAxes:
    LAYER = layer_of(nn.Sequential(nn.Conv2d(1, 6, 3, 2), nn.ReLU(), nn.Conv2d(6, 8, 3, 2)), "frontend")

    @pytest.mark.parametrize(
        ("shape", "layout"),
        [((2, 8, 5, 11), "(B, C, F, T)"), ((2, 8, 11, 5), "(B, C, T, F)"), ((2, 11, 5, 8), "(B, T, F, C)")],
    )
    def test_bands_become_columns(self, shape: tuple[int, ...], layout: str) -> None:
        hidden = torch.randn(shape)
        found, name = to_btc(hidden, batch_size=2, layer=self.LAYER, frames=[11])
        assert (tuple(found.shape), name) == ((2, 11, 40), layout)
        time = hidden.movedim(shape.index(11), 1)
        torch.testing.assert_close(found[1, 3].sort().values, time[1, 3].flatten().sort().values)

    def test_convolutions_alone_have_the_channels_second(self) -> None:
        """Though another axis is as long as they are many."""
        assert to_btc(torch.randn(2, 8, 11, 8), batch_size=2, layer=self.LAYER, frames=[8])[1] == "(B, C, F, T)"

    def test_without_expected_frames_refused(self) -> None:
        with pytest.raises(LayoutError, match="frames expected unknown"):
            to_btc(torch.randn(2, 8, 5, 11), batch_size=2, layer=self.LAYER)


def test_real_blocks_give_the_layout_of_their_library() -> None:
    models = pytest.importorskip("torchaudio.models")
    conformer = models.Conformer(WIDTH, 2, 32, 2, 5).eval()
    with Fires(find_layers(conformer)) as fires, torch.no_grad():
        expected, _ = conformer(torch.randn(3, 3, WIDTH), torch.tensor([3, 3, 2]))
    hidden, _ = unpack(fires.outputs["conformer_layers.1"])
    found, layout = to_btc(hidden, batch_size=3, layer=find_layers(conformer)[1])
    assert layout == "(T, B, C)"
    assert torch.equal(found, expected)


@pytest.mark.parametrize("positions", [7, 24])
def test_the_part_that_is_as_wide_as_the_layer_is_read_also_where_there_are_as_many_positions(positions):
    patches, embedded = torch.randn(3, positions, 40), torch.randn(3, positions, 24)
    layer = nn.Sequential(nn.Linear(40, 24))
    first = fitting_part_first((patches, embedded, torch.tensor([positions] * 3)), layer, "frontend", 3)
    assert torch.equal(first[0], embedded)
    channels_first = torch.randn(3, 24, 40)
    both = (channels_first, torch.randn(3, 40, 24))
    assert torch.equal(fitting_part_first(both, layer, "frontend", 3)[0], channels_first)
