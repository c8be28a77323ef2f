"""What an alarm means, what usually causes it and what helps: the words of the messages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """About one kind of alarm.

    Attributes:
        title: The kind in words.
        causes: Likely ones.
        remedies: What has helped.
    """

    title: str
    causes: str = ""
    remedies: str = ""


_NO_TARGET = (
    "a teacher that is the student or follows it too fast, a missing stop-gradient, a learning rate or weight decay "
    "far too high, a loss term against collapse that is off"
)
_CHECK_TARGET = (
    "go back to the last healthy checkpoint; check that targets carry no gradient and the teacher's decay is near one, "
    "lower the learning rate"
)
ADVICE = {
    "non_finite": Advice(
        "NaN or Inf",
        "overflow in half precision, a learning rate too high, broken audio in the batch",
        "bfloat16 or a gradient scaler, clipping of gradients, a check of the audio for NaN",
    ),
    "complete_collapse": Advice(
        "complete collapse",
        "targets that can be met with a constant (no stop-gradient, a teacher that follows too fast, one cluster), "
        "a layer that is dead",
        _CHECK_TARGET,
    ),
    "anisotropy": Advice(
        "collapse onto a shared vector",
        "a bias or LayerNorm offset that has taken over; often the step before a complete collapse",
        "weight decay on biases and gains off, a lower learning rate",
    ),
    "growing_anisotropy": Advice(
        "embeddings that converge",
        "a loss that a constant answer meets (no variance term, one target for all, silence as data), a learning rate "
        "too high; deep layers of large models may come close to it by themselves",
        "compare with a small labelled check; check the loss term that keeps embeddings apart",
    ),
    "dimensional_collapse": Advice("dimensional collapse", _NO_TARGET, _CHECK_TARGET),
    "sudden_rank_drop": Advice(
        "sudden drop of the effective rank",
        "a gradient spike, a change of data, loss terms or learning rate at this step",
        "look at what changed between the two readings; clip gradients; skip the batches in between",
    ),
    "temporal_collapse": Advice(
        "temporal collapse",
        "a loss on pooled or neighbouring frames that rewards slowness, masks longer than what can be guessed",
        "shorter masks, targets per frame",
    ),
    "utterance_collapse": Advice(
        "utterance collapse",
        "normalisation per utterance that takes away what they differ in, one utterance again and again in the data",
        "check the loader's shuffling; compare with a speaker or keyword probe",
    ),
    "dead_dimensions": Advice(
        "dead dimensions",
        "weight decay on gains, dead units after a step that was too large",
        "no weight decay on LayerNorm, a lower learning rate, a longer warm-up",
    ),
    "codebook_collapse": Advice(
        "codebook collapse",
        "a diversity loss that is off or too weak, a temperature that falls too fast; with a frozen quantiser silence, "
        "repeated data or features that aren't normalised",
        "a higher weight of the diversity loss, a slower temperature, normalised features",
    ),
    "domain_gap": Advice(
        "domain gap",
        "training data too narrow, or audio of another rate or level than the out-of-domain set",
        "mix in other data; check the set's preparation",
    ),
    "slow_rank_decline": Advice(
        "slow slide of the effective rank",
        "a contraction that goes on and on; late in training it may even go with better results",
        "compare with a small labelled check",
    ),
    "unstable_rank": Advice(
        "unsteady representation",
        "a learning rate too high for this depth or batch size, gradients that aren't clipped",
        "a lower learning rate, a longer warm-up, gradient clipping",
    ),
    "frozen_representation": Advice(
        "standstill",
        "targets that one constant answer meets (one cluster, an empty codebook), frozen parameters, steps that are "
        "all skipped, a gradient of zero",
        "look at the loss (is it near zero?), at the targets' usage and at the gradients' norm",
    ),
    "layer_outlier": Advice(
        "one layer apart",
        "a dead layer, a gain that fades, a residual branch that takes over",
        "look at the layer's gradients and gains",
    ),
    "data_shift": Advice(
        "change of the training data",
        "other data, masking or crops than before; the model itself still holds on the evaluation set",
        "check what the loader gives: silence, repetition, another corpus",
    ),
}

MEANING = {
    "frame": "the frame level carries phone-like content",
    "utterance": "the utterance level carries speaker, keyword and channel",
    "codebook": "the codebook is what the model is asked to predict",
}


def advice(kind: str) -> Advice:
    """About a kind; of a user's own detector its name alone."""
    return ADVICE.get(kind) or Advice(kind.replace("_", " "))
