"""Models by what people call them, and what is said where there is none."""

import pytest
import torch
from speech_models import hugging_face
from torch import nn

from rankwatch.analysis.models.model_sources import find_model


class Plain(nn.Linear):
    def __init__(self):
        super().__init__(3, 4)


def test_weights_are_read_from_where_frameworks_keep_them(tmp_path):
    saved = Plain().state_dict()
    for k, content in enumerate((saved, {"state_dict": {f"model.{n}": v for n, v in saved.items()}}, {"model": saved})):
        file = tmp_path / f"{k}.ckpt"
        torch.save(content, file)
        found = find_model(f"test_model_sources:Plain@{file}")
        assert found.name == str(k)
        assert torch.equal(found.root.weight, saved["weight"])


def test_a_checkpoint_of_another_model_or_without_weights_is_refused(tmp_path):
    for content, message in (
        ({"kernel": torch.zeros(2)}, "holds no weights of Plain"),
        ({"weight": torch.zeros(2), "bias": torch.zeros(4)}, "does not fit Plain"),
        ({"weight": torch.zeros(4, 3), "x": torch.zeros(1)}, "lacks 1 weights of Plain: bias"),
        ([1, 2], "holds no weights by name"),
    ):
        torch.save(content, tmp_path / "x.pt")
        with pytest.raises(ValueError, match=message):
            find_model(f"test_model_sources:Plain@{tmp_path / 'x.pt'}")


def test_a_folder_of_hugging_faces_brings_its_extractor(tmp_path):
    transformers = pytest.importorskip("transformers")
    model = hugging_face("Wav2Vec2Config", "Wav2Vec2Model")
    model.save_pretrained(tmp_path)
    assert find_model(tmp_path).extractor is None
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path)
    found = find_model(str(tmp_path))
    assert type(found.extractor).__name__ == "Wav2Vec2FeatureExtractor"
    assert found.sample_rate == 16_000
    assert torch.equal(next(found.root.parameters()), next(model.parameters()))


def test_a_factory_that_gives_no_model_is_refused():
    with pytest.raises(ValueError, match="gave a dict, not a"):
        find_model("builtins:dict")
