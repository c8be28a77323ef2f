"""What is kept of a representation says the same as the representation itself."""

import pytest
import torch

import rankwatch
from rankwatch.numerics.similarity.resolvents.stored_representation import StoredRepresentation
from rankwatch.runtime.plain_data import from_plain, to_plain

SIZES = torch.full((96,), 4)
GROUPS = torch.arange(96).repeat_interleave(4)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def frames(seed=0, columns=16):
    """Frames of 96 utterances, half of whose variance is the utterance's own."""
    own = normal(96, columns, seed=seed).repeat_interleave(4, dim=0)
    return (own + normal(384, columns, seed=seed + 1)) * torch.arange(1, columns + 1) ** -0.5


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_it_says_what_the_similarity_of_the_rows_says(share):
    x, y = frames(), (1 - share) * frames() + share * frames(seed=2)
    stored = [StoredRepresentation.of(rows, SIZES) for rows in (x, y)]
    found, wanted = stored[0].similarity_to(stored[1]), rankwatch.similarity(x, y, groups=GROUPS)
    assert found.value == pytest.approx(wanted.value, abs=1e-4)
    assert found.status == wanted.status
    # The same interval, but for interactions of pairs, which make it up to root 2 too wide.
    width, narrower = found.high - found.low, wanted.high - wanted.low
    assert 0.98 * narrower <= width <= 1.45 * narrower + 1e-9
    assert stored[1].similarity_to(stored[0]).value == pytest.approx(found.value, abs=1e-4)


def test_a_representation_is_equal_to_itself_and_to_its_rotated_scaled_and_shifted_twin():
    x = frames()
    rotation = torch.linalg.qr(normal(16, 16)).Q
    stored = StoredRepresentation.of(x, SIZES)
    assert stored.similarity_to(StoredRepresentation.of(x.clone(), SIZES)).value == 1.0
    found = stored.similarity_to(StoredRepresentation.of(3.0 * x @ rotation + 7.0, SIZES))
    assert found.value == pytest.approx(1.0, abs=1e-5)
    assert found.high - found.low < 1e-4


def test_it_says_the_same_after_it_was_plain_data():
    x, y = (StoredRepresentation.of(frames(seed=seed), SIZES) for seed in (0, 5))
    again = from_plain(StoredRepresentation, to_plain(x))
    assert again.similarity_to(y) == x.similarity_to(y)
    assert x.rows.dtype == torch.float16


def test_rows_that_say_nothing_are_not_stored():
    assert StoredRepresentation.of(torch.ones(384, 8), SIZES) is None
    assert StoredRepresentation.of(normal(8, 4), torch.full((4,), 2)) is None


def test_what_stands_against_a_representation_stands_against_its_similarities():
    """As many columns as utterances, nearly all variance the utterances' own: out of reach, and said."""
    own = normal(24, 24).repeat_interleave(4, dim=0)
    sizes = torch.full((24,), 4)
    x, y = (StoredRepresentation.of(own + 0.01 * normal(96, 24, seed=seed), sizes) for seed in (1, 2))
    assert "dependent_rows" in x.similarity_to(y).status
    few = [StoredRepresentation.of(normal(40, 2, seed=seed), torch.full((10,), 4)) for seed in (1, 2)]
    found = few[0].similarity_to(few[1])
    assert {"too_few_groups", "imprecise"} <= found.status
    assert (found.low, found.high) == (None, None)
    coarse = StoredRepresentation.of(frames(), SIZES, rounding=1.0)
    assert "rounded" in coarse.similarity_to(StoredRepresentation.of(frames(), SIZES)).status
