"""Models by what people call them, and what is said where there is none."""

import pytest
import torch
from speech_models import hugging_face
from torch import nn
from toys import Module

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


class Trace:
    """Leaves a trace where it is unpickled."""

    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return exec, (f"import pathlib; pathlib.Path({self.file!r}).write_text('ran')",)


class Width:
    """An argument that is no plain value, and harmless."""

    def __int__(self):
        return 16


class Sized(Module):
    """Of Lightning's, with a width that weights alone don't say to it."""

    def __init__(self, width, depth=1):
        super().__init__(width=int(width), depth=depth)


ABOUT = {"pytorch-lightning_version": "2.0.0", "hparams_name": "kwargs", "global_step": 10}


def test_a_class_of_lightnings_is_made_of_plain_hyperparameters_and_nothing_else_in_the_file_is_run(tmp_path):
    saved = Sized(16, 2)
    content = {**ABOUT, "state_dict": saved.state_dict(), "hyper_parameters": {"width": 16, "depth": 2}}
    torch.save({**content, "callbacks": Trace(tmp_path / "trace")}, tmp_path / "a.ckpt")
    found = find_model(f"test_model_sources:Sized@{tmp_path / 'a.ckpt'}").root
    assert not (tmp_path / "trace").exists()
    assert isinstance(found, Sized)
    weights = found.state_dict()
    assert weights.keys() == saved.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in saved.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": Width()}, r"of those in .*a.ckpt these aren't plain, .*: width; name a function without arguments"),
        ({"width": {"inner": [1, Width()]}}, r"aren't read: width.inner\[1\]; .*it holds test_model_sources.Width"),
        (Width(), "aren't read: the whole of them; "),
        ({}, "Sized could not be made from the hyperparameters in .*a.ckpt .*'width'.*name a function"),
        ({"width": 32}, "does not fit Sized"),
    ],
)
def test_hyperparameters_that_are_not_plain_not_there_or_others_are_named(arguments, message, tmp_path):
    torch.save({**ABOUT, "state_dict": Sized(16).state_dict(), "hyper_parameters": arguments}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=message):
        find_model(f"test_model_sources:Sized@{tmp_path / 'a.ckpt'}")


def test_classes_that_the_user_allows_are_read(tmp_path):
    content = {**ABOUT, "state_dict": Sized(16).state_dict(), "hyper_parameters": {"width": Width()}}
    torch.save(content, tmp_path / "a.ckpt")
    with torch.serialization.safe_globals([Width]):
        assert isinstance(find_model(f"test_model_sources:Sized@{tmp_path / 'a.ckpt'}").root, Sized)


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
