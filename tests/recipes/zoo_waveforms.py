"""The zoo's wav2vec 2.0 family: its models, their heads, and the settings that change their structure."""

from __future__ import annotations

from typing import Any

from zoo import COUNTS, SMALL, Entry, Layers, cut, through, waveforms

WAVE: dict[str, Any] = {
    **SMALL,
    **{"conv_dim": (16, 16), "conv_kernel": (10, 8), "conv_stride": (5, 4), "num_feat_extract_layers": 2},
    **{"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2},
    **{"tdnn_dim": (16, 16), "tdnn_kernel": (3, 3), "tdnn_dilation": (1, 2), "xvector_output_dim": 16},
    **{"classifier_proj_size": 16, "codevector_dim": 16, "proj_codevector_dim": 16, "num_codevectors_per_group": 8},
    "vocab_size": 12,
}
NORMED: dict[str, Any] = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
"""A layer norm in the front end, as in the large models: then padding changes nothing."""
VALID = through(COUNTS, (10, 5, 0), (8, 4, 0))
HALF = [-(-frames // 2) for frames in VALID]

_HEADS = {
    "Wav2Vec2": ("wav2vec2", "Model PreTraining CTC SequenceClassification AudioFrameClassification XVector"),
    "Hubert": ("hubert", "Model CTC SequenceClassification"),
    "WavLM": ("wavlm", "Model CTC SequenceClassification AudioFrameClassification XVector"),
    "Data2VecAudio": ("data2vec_audio", "Model CTC SequenceClassification AudioFrameClassification XVector"),
    "UniSpeech": ("unispeech", "Model PreTraining CTC SequenceClassification"),
    "UniSpeechSat": ("unispeech_sat", "Model PreTraining CTC SequenceClassification AudioFrameClassification XVector"),
    "Wav2Vec2Conformer": (
        "wav2vec2_conformer",
        "Model PreTraining CTC SequenceClassification AudioFrameClassification XVector",
    ),
    "SEW": ("sew", "Model CTC SequenceClassification"),
    "SEWD": ("sew_d", "Model CTC SequenceClassification"),
}


def _entry(family: str, head: str = "Model", about: str = "", few: bool = False, **changes: Any) -> Entry:
    prefix = "" if head == "Model" else f"{_HEADS[family][0]}."
    squeezed = family.startswith("SEW")
    blocks = f"{prefix}encoder.{'encoder.layer' if family == 'SEWD' else 'layers'}.{{2}}"
    front = f"{prefix}feature_extractor"
    layers: Layers = {front: ("(B, C, T)", 16), blocks: ("(B, T, C)", 32)}
    if family == "Data2VecAudio":
        changes = {"conv_bias": True, **changes}
    # Conformer blocks convolve over what stands behind the end of an utterance.
    invariant = changes.get("feat_extract_norm") == "layer" and family != "Wav2Vec2Conformer"
    return Entry(
        *(family + (head if head == "Model" else f"For{head}"), f"{family}Config"),
        {**WAVE, **({"squeeze_factor": 2} if squeezed else {}), **changes},
        waveforms(),
        layers,
        frames={front: VALID, blocks: HALF if squeezed else VALID},
        alone=cut if invariant else None,
        few=few,
        about=about,
    )


WAVEFORMS = [
    *(
        _entry(family, head, few=(family, head) == ("SEWD", "CTC"))
        for family, (_, heads) in _HEADS.items()
        for head in heads.split()
    ),
    *(
        _entry(family, about="stable layer norm", few=family == "Hubert", **NORMED)
        for family in ("Wav2Vec2", "Hubert", "WavLM", "UniSpeech", "UniSpeechSat")
    ),
    _entry("Wav2Vec2", about="adapter", add_adapter=True, num_adapter_layers=2),
    _entry("Wav2Vec2", "CTC", about="narrow adapter", add_adapter=True, output_hidden_size=24),
    _entry("Wav2Vec2", about="group norm without bias", feat_extract_norm="group"),
    *(
        _entry("Wav2Vec2Conformer", about=str(kind), position_embeddings_type=kind, **NORMED)
        for kind in ("rotary", "relative", None)
    ),
    _entry("Wav2Vec2Conformer", about="adapter", add_adapter=True),
]
