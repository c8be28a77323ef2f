"""Quantizers are found, and what they give is understood: the real classes of those who have some."""

import pytest
import torch
from quantizer_toys import PairQuantizer, Perplexing, PerplexingQuantizer, RandomQuantizer, hooks, wav2vec2
from torch import nn

from rankwatch.extraction.hooks.code_hooks import CodeHooks
from rankwatch.extraction.model.quantizers import MOST, find_quantizers


class QuantizerLoss(nn.Module):
    """Is called like one and tells nothing."""

    def forward(self, x):
        return x, x.mean()


def heard(module, *args, **kwargs):
    """What one call of the only quantizer of a model lets on."""
    layer_hooks = CodeHooks(find_quantizers(nn.ModuleDict({"it": module})))
    layer_hooks.listen()
    module(*args, **kwargs)
    layer_hooks.stop()
    draws, utterances, failures = layer_hooks.take()
    assert not failures
    return draws.get("it", []), utterances


@pytest.mark.parametrize("books", [1, 3])
def test_integers_are_codes(books):
    quantizer, x = RandomQuantizer(books=books), torch.randn(4, 7, 8)
    (draws,), utterances = heard(quantizer, x)
    assert draws.codes.shape == (28, books)
    assert torch.equal(draws.codes.long(), quantizer(x).reshape(28, books))
    assert utterances == 4
    assert find_quantizers(nn.ModuleDict({"it": quantizer}))[0].codes == 16


@pytest.mark.parametrize(("kind", "perplexity"), [(PerplexingQuantizer, 4.0), (PairQuantizer, 6.0)])
def test_a_perplexity_is_the_mean_over_groups(kind, perplexity):
    (draws,), _ = heard(kind(), torch.randn(2, 3, 4))
    assert draws.codes is None
    assert draws.perplexity.item() == perplexity


def test_what_tells_nothing_says_nothing():
    assert heard(QuantizerLoss(), torch.randn(2, 3, 4)) == ([], 0)
    assert find_quantizers(nn.ModuleDict({"it": Perplexing()})) == []


def test_what_fails_is_kept_for_later_and_the_forward_pass_goes_on(monkeypatch):
    def explode(*_):
        raise OSError("made up")

    monkeypatch.setattr("rankwatch.extraction.hooks.code_hooks.integer_codes", explode)
    quantizer = RandomQuantizer()
    layer_hooks = CodeHooks(find_quantizers(nn.ModuleDict({"it": quantizer})))
    layer_hooks.listen()
    assert quantizer(torch.randn(2, 3, 8)).shape == (2, 3)
    assert str(layer_hooks.take()[2]["it"]) == "made up"


def test_hooks_are_there_only_while_they_listen():
    model = nn.ModuleDict({"it": RandomQuantizer()})
    layer_hooks = CodeHooks(find_quantizers(model))
    assert hooks(model) == []
    layer_hooks.listen()
    layer_hooks.listen()  # a step that broke off did not stop them
    assert [len(module._forward_hooks) for module in hooks(model)] == [1]
    layer_hooks.stop()
    assert hooks(model) == []


def encoder():
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2, enable_nested_tensor=False)


def test_teachers_outer_ones_and_more_than_a_few_are_left_out():
    branch = nn.ModuleDict({"encoder": encoder(), "quantizer": RandomQuantizer()})
    twin = nn.ModuleDict({"encoder": encoder().requires_grad_(False), "quantizer": RandomQuantizer()})
    names = [one.name for one in find_quantizers(nn.ModuleDict({"model": branch, "ema_model": twin}))]
    assert names == ["model.quantizer"]
    names = [one.name for one in find_quantizers(nn.ModuleDict({"model": branch, "copy": twin}))]
    assert names == ["model.quantizer"]  # by its blocks alone
    targets = nn.ModuleDict({"model": encoder(), "target_quantizer": RandomQuantizer()})
    names = [one.name for one in find_quantizers(targets)]
    assert names == ["target_quantizer"]  # of targets, and no teacher

    class ResidualQuantizer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.ModuleList(RandomQuantizer() for _ in range(MOST + 3))

        def forward(self, x):
            return [one(x) for one in self.inner]

    found = find_quantizers(nn.ModuleDict({"it": ResidualQuantizer()}))
    assert [one.name for one in found] == [f"it.inner.{i}" for i in range(MOST)]


def test_numbers_of_bits_are_something_else():
    fake = pytest.importorskip("torch.ao.quantization").FakeQuantize()
    assert find_quantizers(nn.ModuleDict({"it": fake})) == []


def test_compiled_models_get_no_hook_inside():
    model = nn.ModuleDict({"it": RandomQuantizer()})
    assert find_quantizers(nn.ModuleDict({"all": torch.compile(encoder()), **model})) != []
    inside = nn.Sequential(RandomQuantizer())
    assert find_quantizers(nn.ModuleDict({"all": torch.compile(inside)})) == []
    inside.compile()
    assert find_quantizers(nn.ModuleDict({"all": inside})) == []


def test_hugging_face_s_codes_are_those_that_its_own_perplexity_counts():
    model = wav2vec2()
    (found,) = find_quantizers(model)
    assert (found.name, found.codes) == ("quantizer", model.config.num_codevectors_per_group)
    quantizer = model.quantizer.eval()
    x = torch.randn(3, 11, model.config.conv_dim[-1])
    mask = torch.rand(3, 11) < 0.5
    for given in {}, {"mask_time_indices": mask}:
        (draws,), utterances = heard(quantizer, x, **given)
        assert utterances == 3
        assert draws.codes.shape == (33, quantizer.num_groups)
        assert int((draws.codes >= 0).all(dim=1).sum()) == (int(mask.sum()) if given else 33)
        kept = draws.codes[draws.codes[:, 0] >= 0].long()
        usage = torch.stack([torch.bincount(column, minlength=found.codes) for column in kept.unbind(1)]) / len(kept)
        own = quantizer(x, **given)[1]  # in eval mode of the likeliest codes too
        assert torch.exp(-torch.xlogy(usage, usage).sum(-1)).sum().item() == pytest.approx(own.item(), rel=1e-4)


def test_speechbrain_s():
    quantisers = pytest.importorskip("speechbrain.nnet.quantisers")
    random = quantisers.RandomProjectionQuantizer(8, 4, 16)
    x = torch.randn(2, 5, 8)
    (draws,), utterances = heard(random, x)
    assert torch.equal(draws.codes.long(), random(x).reshape(-1, 1))
    assert utterances == 2
    assert find_quantizers(nn.ModuleDict({"it": random}))[0].codes == 16
    gumbel = quantisers.GumbelVectorQuantizer(8, 10, (2.0, 0.25, 0.99), 2, 6)
    (draws,), _ = heard(gumbel, x)
    usage = torch.stack([torch.bincount(column.long(), minlength=10) for column in draws.codes.unbind(1)]) / 10
    hard = torch.exp(-torch.xlogy(usage, usage).sum(-1)).sum().item()
    assert hard == pytest.approx(gumbel(x)["code_perplexity"].item(), rel=1e-4)


@pytest.mark.slow
def test_nemo_s():
    quantizers = pytest.importorskip("nemo.collections.asr.modules.ssl_modules.quantizers")
    gumbels = pytest.importorskip("nemo.collections.asr.parts.submodules.ssl_quantizers")
    x = torch.randn(2, 8, 5)
    for books, squeeze in (1, True), (1, False), (3, False):
        random = quantizers.RandomProjectionVectorQuantizer(8, 4, 16, books, "l2", squeeze_single=squeeze)
        (draws,), utterances = heard(random, input_signal=x)
        assert torch.equal(draws.codes.long(), random(input_signal=x)[1].reshape(-1, books))
        assert utterances == 2
        assert find_quantizers(nn.ModuleDict({"it": random}))[0].codes == 16
    gumbel = gumbels.GumbelVectorQuantizer(8, 10, (2.0, 0.25, 0.99), 2, False, 6, time_first=False)
    for ids in False, True:  # what it calls a perplexity is a loss, its ids are of both groups together
        (draws,), _ = heard(gumbel, x, return_ids=ids)
        assert draws.codes.shape == (10, 2)
        assert int(draws.codes.max()) < 10
