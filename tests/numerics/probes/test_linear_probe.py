"""The probe finds what is linearly there and nothing else."""

import pytest
import torch

from rankwatch.numerics import linear_probe


def _labelled(n: int, noise: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 5, (n,), generator=generator)
    centres = torch.randn(5, 16, generator=torch.Generator().manual_seed(99))
    return centres[labels] + noise * torch.randn(n, 16, generator=generator), labels


def test_separated_classes_are_found_and_an_affine_map_changes_nothing() -> None:
    x, y = _labelled(300, 0.1, 0)
    u, v = _labelled(200, 0.1, 1)
    result = linear_probe(x, y, u, v)
    assert result.accuracy > 0.9
    assert result.chance == pytest.approx(0.2)
    scaled = linear_probe(7.0 + x * 3e-3, y, 7.0 + u * 3e-3, v)
    assert scaled.accuracy == pytest.approx(linear_probe(x.float(), y, u, v).accuracy, abs=1e-6)


def test_noise_and_a_constant_representation_are_at_chance_and_majority() -> None:
    y = _labelled(400, 1.0, 0)[1]
    noise = torch.randn(400, 16, generator=torch.Generator().manual_seed(5))
    shuffled = linear_probe(noise[:200], y[:200], noise[200:], y[200:])
    assert shuffled.accuracy == pytest.approx(0.2, abs=0.1)
    constant = linear_probe(torch.ones(200, 16), y[:200], torch.ones(200, 16), y[200:])
    assert constant.accuracy == constant.majority


def test_a_label_never_trained_on_is_missed() -> None:
    x, y = _labelled(100, 0.1, 0)
    assert linear_probe(x, y, x, torch.full((100,), 9)).accuracy == 0.0


@pytest.mark.parametrize("ridge", [0.0, -1.0])
def test_bad_input_is_named(ridge: float) -> None:
    with pytest.raises(ValueError, match="ridge"):
        linear_probe(torch.eye(3), [0, 1, 2], torch.eye(3), [0, 1, 2], ridge=ridge)
    with pytest.raises(ValueError, match="columns"):
        linear_probe(torch.eye(3), [0, 1, 2], torch.eye(4), [0, 1, 2, 3])
