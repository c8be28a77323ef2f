"""What each kind of alarm means, what usually causes it, and what to do: the words of the messages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Explanation:
    """About one kind of alarm.

    Attributes:
        title: The kind in the field's words.
        causes: What usually causes it; empty where nothing is known.
        remedies: What to do about it; empty where nothing is known.
    """

    title: str
    causes: str = ""
    remedies: str = ""


_TRIVIAL_TARGETS = (
    "targets that a trivial solution can meet (a teacher that is the student or follows it too fast, a missing "
    "stop-gradient), a learning rate or weight decay far too high, a variance or diversity term that is off"
)
_CHECK_TARGETS = (
    "go back to the last healthy checkpoint; check that no gradient flows into the targets and that the teacher's EMA "
    "decay is close to one; lower the learning rate"
)
EXPLANATIONS = {
    "non_finite": Explanation(
        "NaN or Inf in the embeddings",
        "overflow in half precision, a learning rate too high, corrupt audio in the batch",
        "train in bfloat16 or with a gradient scaler, clip gradients, check the audio for NaN",
    ),
    "complete_collapse": Explanation(
        "complete collapse (all embeddings are one vector)",
        "targets that a constant output meets (no stop-gradient, a teacher that follows too fast, a single cluster), a "
        "dead layer",
        _CHECK_TARGETS,
    ),
    "anisotropy": Explanation(
        "extreme anisotropy (embeddings share nearly all of their energy)",
        "a bias or LayerNorm offset that dominates the embeddings; often the stage before a complete collapse",
        "exclude biases and LayerNorm parameters from weight decay, lower the learning rate",
    ),
    "growing_anisotropy": Explanation(
        "growing anisotropy (embeddings converge to a shared vector)",
        "a loss that a constant output meets (no variance term, one target for everything, silence as data), a "
        "learning rate too high; deep layers of large models may become anisotropic without harm",
        "compare with a small labelled check; check the loss term that keeps embeddings apart",
    ),
    "dimensional_collapse": Explanation(
        "dimensional collapse (embeddings span few dimensions)", _TRIVIAL_TARGETS, _CHECK_TARGETS
    ),
    "sudden_rank_drop": Explanation(
        "sudden drop of the effective rank",
        "a gradient spike, a change of data, of loss terms or of the learning rate at this step",
        "look at what changed between the two readings, clip gradients, skip the batches in between",
    ),
    "temporal_collapse": Explanation(
        "temporal collapse (the frames of an utterance are alike)",
        "a loss on pooled or neighbouring frames that rewards slowness, masks longer than what context can predict",
        "shorten the masks, use one target per frame",
    ),
    "utterance_collapse": Explanation(
        "utterance collapse (utterances are alike while their frames differ)",
        "normalisation per utterance that removes what they differ in, the same utterance again and again in the data",
        "check the loader's shuffling; compare with a linear probe of speakers or keywords",
    ),
    "dead_dimensions": Explanation(
        "dead dimensions",
        "weight decay on LayerNorm gains, units that died after a step that was too large",
        "exclude LayerNorm from weight decay, lower the learning rate, lengthen its warm-up",
    ),
    "codebook_collapse": Explanation(
        "codebook collapse (few codes are used)",
        "a diversity loss that is off or too weak, a temperature that falls too fast; with a frozen quantizer silence, "
        "repeated data or features that aren't normalised",
        "raise the weight of the diversity loss, anneal the temperature more slowly, normalise the features",
    ),
    "domain_gap": Explanation(
        "domain gap (only a further evaluation set loses rank)",
        "training data too narrow, or audio in the further set with another sample rate or level",
        "add other data to the training; check how the set was prepared",
    ),
    "slow_rank_decline": Explanation(
        "slow decline of the effective rank",
        "a contraction that goes on; late in training it may even go with better results",
        "compare with a small labelled check",
    ),
    "slow_perplexity_decline": Explanation(
        "slow decline of a codebook's perplexity (its codes are used less and less evenly)",
        "targets that go on drifting with their teacher, predictions of all codebooks from one layer; the number of "
        "active codes doesn't show it",
        "let the teacher's EMA decay come closer to one or freeze the teacher, predict each codebook from the layer "
        "that it belongs to; compare with a small labelled check",
    ),
    "unstable_rank": Explanation(
        "unstable representation (the effective rank jumps up and down)",
        "a learning rate too high for this depth or batch size, gradients that aren't clipped",
        "lower the learning rate, lengthen its warm-up, clip gradients",
    ),
    "frozen_representation": Explanation(
        "frozen representation (no layer changes)",
        "targets that one constant output meets (a single cluster, an empty codebook), frozen parameters, steps that "
        "are all skipped, gradients of zero or clipped to nothing",
        "check whether the loss is near zero, how targets are used, and the gradients' norm",
    ),
    "repeated_batch": Explanation(
        "repeated batch (training is given one batch again and again)",
        "a loader that starts anew for each batch, a sampler with one index, a cache that isn't emptied, a debugging "
        "option that was left on (overfit_batches)",
        "look at two successive batches that the loader gives; rank may even rise while one batch is memorised",
    ),
    "abrupt_change": Explanation(
        "abrupt change (a layer is suddenly another one while its rank holds)",
        "a layer that was reset or unfrozen, another checkpoint than before, other targets or another teacher, a step "
        "that was far too large",
        "look at what happened between the two readings; if it was meant, nothing is wrong; what was trained on this "
        "layer's output (probes, heads, targets) no longer fits it",
    ),
    "layer_outlier": Explanation(
        "layer outlier (one layer loses rank while the others hold)",
        "a dead layer, a gain that fades, a residual branch that takes over",
        "look at this layer's gradients and gains",
    ),
    "data_shift": Explanation(
        "shift of the training data",
        "other data, masks or crops than before; the model itself still has its rank on the evaluation set",
        "check what the loader yields: silence, repetition, another corpus",
    ),
    "plateau": Explanation("plateau of the effective rank"),
}

LEVEL_MEANING = {
    "frame": "(The frame level carries phone-like content.)",
    "utterance": "(The utterance level carries speaker, keyword and channel.)",
    "codebook": "(The codebook holds the targets that the model is asked to predict.)",
}


def explanation(kind: str) -> Explanation:
    """About a kind of alarm; of a user's own detector its name alone."""
    return EXPLANATIONS.get(kind) or Explanation(kind.replace("_", " "))
