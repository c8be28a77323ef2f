"""Which modules' calls make all watched layers fire, and what feeds these."""

from __future__ import annotations

import pytest
from speech_models import hugging_face, torchaudio_wav2vec2
from torch import nn

from rankwatch.extraction.hooks.replayable_calls import backbone_candidates, with_front_ends
from rankwatch.extraction.model.layers import find_layers, unwatched_teachers


class TestBackbone:
    def test_deepest_first_root_last(self) -> None:
        inner = torchaudio_wav2vec2()
        root = nn.Sequential(nn.Sequential(inner), nn.Linear(2, 2))
        found = backbone_candidates(root, find_layers(root))
        assert [path for path, _ in found] == ["0.0", "0", ""]
        assert [module for _, module in found] == [inner, root[0], root]

    def test_containers_that_never_fire_are_none(self) -> None:
        root = nn.Module()
        root.modules_ = nn.ModuleDict({"ssl": torchaudio_wav2vec2()})
        assert [path for path, _ in backbone_candidates(root, find_layers(root))] == ["modules_.ssl", ""]

    def test_one_layer_is_not_its_own_backbone(self) -> None:
        model = torchaudio_wav2vec2()
        layers = find_layers(model, ["feature_extractor"])
        assert [path for path, _ in backbone_candidates(model, layers)] == [""]


class TestWhatFeedsThem:
    @pytest.mark.parametrize("pattern", ["encoder.transformer.layers.1", "*.layers.*.attention", "*"])
    def test_the_front_end_of_a_stack_belongs_to_its_blocks(self, pattern: str) -> None:
        model = torchaudio_wav2vec2()
        layers = find_layers(model, [pattern])
        fed = with_front_ends(model, layers)
        assert "feature_extractor" in [layer.name for layer in fed]
        assert [path for path, _ in backbone_candidates(model, fed)] == [""]

    def test_a_teachers_blocks_are_fed_by_the_teachers_front_end(self) -> None:
        model = nn.ModuleDict({"student": torchaudio_wav2vec2(), "teacher": torchaudio_wav2vec2()})
        fed = with_front_ends(model, find_layers(model, ["teacher.*.layers.2"]))
        assert [(layer.name, layer.branch) for layer in fed] == [
            ("teacher.encoder.transformer.layers.2", "teacher"),
            ("teacher.feature_extractor", "teacher"),
        ]
        assert unwatched_teachers(model, []) == ["teacher.*"]

    def test_a_strided_positional_convolution_is_no_front_end(self) -> None:
        """SEW has one within its encoder, nearer to the blocks than its front end."""
        model = hugging_face("SEWConfig", "SEWModel", squeeze_factor=2)
        assert find_layers(model)[0].name == "feature_extractor"
