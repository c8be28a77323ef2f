"""SpeechBrain's BEST-RQ: its real classes, called one by one as its recipe calls them, in a LightningModule."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from recipe import drawn, padded, pretrain
from torch import Tensor, nn
from toys import pl

from rankwatch import RowSampling, Watch

BANDS, HOP, WIDTH = 16, 20, 24


class BestRq(pl.LightningModule):
    """Fractions as lengths, one set of mask indices for all, random chunks of attention."""

    def __init__(self, layer_drop: float = 0.0) -> None:
        super().__init__()
        from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
        from speechbrain.lobes.models.transformer.TransformerASR import EncoderWrapper, TransformerASR

        self.CNN = ConvolutionFrontEnd(
            (8, 10, BANDS),
            num_blocks=2,
            num_layers_per_block=1,
            out_channels=(8, 4),
            kernel_sizes=(3, 3),
            strides=(2, 2),
            residuals=(False, False),
        )
        transformer = TransformerASR(
            tgt_vocab=8,
            input_size=4 * BANDS // 4,
            d_model=WIDTH,
            nhead=2,
            num_encoder_layers=3,
            num_decoder_layers=0,
            d_ffn=32,
            dropout=0.1,
            encoder_module="conformer",
            attention_type="RelPosMHAXL",
            kernel_size=5,
            normalize_before=True,
            causal=False,
            layerdrop_prob=layer_drop,
        )
        self.wrapper = EncoderWrapper(transformer)
        self.linear = nn.Linear(WIDTH, 8)
        self.register_buffer("bands", torch.randn(HOP, BANDS, generator=torch.Generator().manual_seed(0)))

    def between(self, x: Tensor) -> Tensor:
        return x

    def training_step(self, batch: Any, index: int) -> Tensor:
        from speechbrain.utils.dynamic_chunk_training import DynChunkTrainConfig

        waveforms, fractions, mask = batch
        features = (waveforms.unfold(1, HOP, HOP) @ self.bands).abs().add(1e-3).log()
        features = nn.functional.pad(features, (0, 0, 0, -features.shape[1] % 4))
        features[:, mask] = 0.1 * torch.randn(len(features), len(mask), BANDS, dtype=features.dtype)
        chunks = DynChunkTrainConfig(8, 2) if torch.rand(()) < 0.5 else None
        encoded = self.wrapper(self.between(self.CNN(features)), fractions, dynchunktrain_config=chunks)
        return self.linear(encoded)[:, mask[::4] // 4].square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), 1e-3)


SAMPLES = [[1600, 900, 1234, 400], [1280, 777, 1111, 1280], [1920, 1919, 640, 400]]
FRAMES = [20, 12, 16, 5, 16, 10, 14, 16, 24, 24, 8, 5]
BLOCKS = [f"wrapper.transformer.encoder.layers.{i}" for i in range(3)]


def _batch(samples: list[int], seed: int, **padding: Any) -> tuple[Tensor, Tensor, Tensor]:
    waveforms, lengths = padded(samples, seed, **padding)
    # As many mask indices as there are utterances: they look like lengths, and aren't.
    return waveforms, lengths / max(samples), torch.tensor([0, 4, 8, 12])


def _batches(**changes: Any) -> list[Any]:
    return [_batch(samples, seed, **changes) for seed, samples in enumerate(SAMPLES)]


@pytest.mark.parametrize("layer_drop", [0.0, 0.2])
def test_one_line(layer_drop: float, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretrain(partial(BestRq, layer_drop), _batches(), tmp_path, monkeypatch, accumulate_grad_batches=2)
    assert run.layers == ["CNN", *BLOCKS]
    for layer in run.layers:
        assert run.frames(layer) == FRAMES
        assert "wav_lens' (fractions, in proportion (to within a frame))" in run.source(layer)
        assert run.rows("frame")[layer] == {drawn(FRAMES)}
    assert {r.protocol.input for r in run.watch.readings} == {"replayed"}
    assert "replay of the call of CNN and then of wrapper (eval mode)" in run.table
    assert "(B, T, F, C)" in run.table


def test_in_bfloat16(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretrain(BestRq, _batches(), tmp_path, monkeypatch, precision="bf16-mixed")
    assert run.frames(BLOCKS[-1]) == FRAMES
    assert all(r.ok for r in run.watch.readings if r.layer in BLOCKS)


def test_the_reading_follows_both_parts(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks are given what the front end makes of the held-back features now, not what it made of them then."""

    class Dying(BestRq):
        def on_train_batch_end(self, *_: Any) -> None:
            with torch.no_grad():
                for parameter in self.CNN.parameters():
                    parameter.zero_()

    run = pretrain(Dying, _batches(), tmp_path, monkeypatch)
    last = {r.layer: r for r in run.watch.readings if r.level == "frame"}
    assert last["CNN"].status == {"constant"}


def test_fractions_above_one_are_refused_by_name(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [(x, 1.3 * fractions, mask) for x, fractions, mask in _batches()]
    run = pretrain(BestRq, batches, tmp_path, monkeypatch)
    assert not run.watch.readings
    (said,) = [one for one in run.said if "first_batches" in one]
    assert "looks like lengths but doesn't fit" in said
    assert "wav_lens'" in said
    assert "fractions outside (0, 1]" in said


def test_something_between_the_two_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Between(BestRq):
        def between(self, x: Tensor) -> Tensor:
            return 2 * x

    run = pretrain(Between, _batches(), tmp_path, monkeypatch)
    assert not run.watch.readings
    (said,) = [one for one in run.said if "first_batches" in one]
    assert "nor do the blocks get the front end's output as it is" in said
    assert "forward=f" in said


def _loop(model: BestRq, folder: Any, batches: list[Any], state: Any = None) -> Watch:
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    with Watch(model, folder, rows=RowSampling(n_utterances=12), every_n_steps=3, strict=True) as watch:
        if state is not None:
            watch.load_state_dict(state)
        for index, batch in enumerate(batches):
            with watch.batch(batch):
                model.training_step(batch, index).backward()
            optimizer.step()
            watch.step()
    return watch


def test_in_a_loop_of_ones_own_and_resumed(tmp_path: Any) -> None:
    """Its own Brain is such a loop. The evaluation set comes back from its file, the two calls are found again."""
    torch.manual_seed(0)
    model = BestRq()
    first = _loop(model, tmp_path, _batches())
    second = _loop(model, tmp_path, _batches(), torch.load(_save(first, tmp_path), weights_only=True))
    assert {r.step for r in first.readings} == {3}
    assert {r.step for r in second.readings} == {6}
    assert {r.layer for r in second.readings} == {"CNN", *BLOCKS}
    assert {r.protocol.id for r in second.readings} == {r.protocol.id for r in first.readings}


def _save(watch: Watch, folder: Any) -> Any:
    torch.save(watch.state_dict(), folder / "state.pt")
    return folder / "state.pt"
