"""The zoo's conformers of speech recognition, and the encoders of speech language models."""

from __future__ import annotations

import torch
from zoo import FRAMES, SMALL, TOKENS, Entry, Layers, mels, noise, through, waveforms
from zoo_spectrograms import BLOCKS, EVERY, LONG, LONG_VALID, SEQ, WHISPER_LAYERS, entries_of
from zoo_waveforms import VALID

_PARAKEET = {
    **SMALL,
    **{"num_mel_bins": 20, "subsampling_conv_channels": 16, "subsampling_factor": 4, "conv_kernel_size": 5},
}
_PARAKEET_LAYERS: Layers = {"subsampling": BLOCKS, "layers.{2}": BLOCKS}
_PARAKEET_VALID = through(FRAMES, (3, 2, 1), (3, 2, 1))
_LASR = {**SMALL, "num_mel_bins": 20, "subsampling_conv_channels": 16, "conv_kernel_size": 8}
_GRANITE = {
    **{"input_dim": 20, "num_layers": 2, "hidden_dim": 32, "num_heads": 2, "dim_head": 16, "output_dim": 10},
    **{"context_size": 20, "max_pos_emb": 32, "conv_kernel_size": 5},
}
_GRANITE5 = {
    **{**SMALL, "vocab_size": 12, "num_mel_bins": 20, "context_size": 16, "max_position_embeddings": 32},
    "conv_kernel_size": 5,
}
_MELS = {**SMALL, "num_mel_bins": 20}
_OMNI = {
    **{**SMALL, "conv_dim": (16, 16), "conv_kernel": (10, 8), "conv_stride": (5, 4)},
    **{"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2},
}
_GEMMA3N = {
    **{"input_feat_size": 20, "hidden_size": 32, "conf_num_attention_heads": 2, "conf_num_hidden_layers": 2},
    "sscp_conv_channel_size": (8, 8),
}
_PADDED = mels(20)
_GEMMA_INPUTS = {"audio_mel": _PADDED["input_features"], "audio_mel_mask": ~_PADDED["attention_mask"].bool()}
_PHI4 = {
    **{"hidden_size": 32, "intermediate_size": 48, "num_blocks": 2, "num_attention_heads": 2, "input_size": 20},
    **{"nemo_conv_channels": 32, "ext_pw_out_channel": 32, "depthwise_separable_out_channel": 32},
}
_DOTS = {**SMALL, "feature_size": 20, "downsample_hidden_size": 16, "adapter_input_size": 32, "adapter_out_dim": 16}
_COHERE = {
    **{**SMALL, "vocab_size": 20, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    **{"encoder_config": {**_PARAKEET, "model_type": "parakeet_encoder"}, "decoder_start_token_id": 1},
}

ENCODERS = [
    *entries_of(
        *("ParakeetEncoder", "ParakeetEncoderConfig", _PARAKEET, mels(20), _PARAKEET_LAYERS, _PARAKEET_VALID),
        few=True,
    ),
    *entries_of(
        *("ParakeetEncoder", "ParakeetEncoderConfig", {**_PARAKEET, "subsampling_factor": 8, "num_mel_bins": 24}),
        *(mels(24), _PARAKEET_LAYERS, through(FRAMES, (3, 2, 1), (3, 2, 1), (3, 2, 1))),
        about="factor 8",
    ),
    *entries_of(
        *("ParakeetForCTC=encoder.", "ParakeetCTCConfig", {"encoder_config": _PARAKEET, "vocab_size": 12}),
        *(mels(20), _PARAKEET_LAYERS, _PARAKEET_VALID),
    ),
    *entries_of(
        "CohereAsrModel=encoder.", "CohereAsrConfig", _COHERE, {**mels(20), **TOKENS}, _PARAKEET_LAYERS, _PARAKEET_VALID
    ),
    *entries_of(
        *("NemotronAsrStreamingEncoder", "NemotronAsrStreamingEncoderConfig"),
        {**_PARAKEET, "sliding_window": 21, "default_num_lookahead_tokens": 3},
        *(mels(20), _PARAKEET_LAYERS, through(FRAMES, (2, 2, 1), (2, 2, 1))),
    ),
    *entries_of(
        *("LasrEncoder", "LasrEncoderConfig", _LASR, mels(20), {"subsampler": BLOCKS, "layers.{2}": BLOCKS}),
        through(FRAMES, (5, 2, 0), (5, 2, 0)),
    ),
    *entries_of(
        *("LasrForCTC=encoder.", "LasrCTCConfig", {"encoder_config": _LASR, "vocab_size": 12}, mels(20)),
        *({"subsampler": BLOCKS, "layers.{2}": BLOCKS}, through(FRAMES, (5, 2, 0), (5, 2, 0))),
    ),
    *(
        one
        for plus in ("", "Plus")
        for one in entries_of(
            *(f"GraniteSpeech{plus}CTCEncoder", f"GraniteSpeech{plus}EncoderConfig", _GRANITE),
            *({"hidden_states": noise(4, 80, 20)}, {"layers.{2}": BLOCKS}),
        )
    ),
    *entries_of(
        "GraniteSpeech5Encoder", "GraniteSpeech5EncoderConfig", _GRANITE5, mels(80), {"layers.{2}": BLOCKS}, EVERY
    ),
    *entries_of(
        *("GraniteSpeech5ForCTC=encoder.", "GraniteSpeech5CTCConfig", {"encoder_config": _GRANITE5, "vocab_size": 12}),
        *(mels(80), {"layers.{2}": BLOCKS}, EVERY),
    ),
    *entries_of(
        *("Qwen2AudioEncoder", "Qwen2AudioEncoderConfig"),
        {
            **{name: SEQ[name] for name in ("d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim")},
            "num_mel_bins": 20,
            "max_source_positions": 100,
        },
        *(LONG, WHISPER_LAYERS),
    ),
    *entries_of("VoxtralEncoder", "VoxtralEncoderConfig", {**_MELS, "max_source_positions": 100}, LONG, WHISPER_LAYERS),
    *entries_of(
        *("AudioFlamingo3Encoder", "AudioFlamingo3EncoderConfig", {**_MELS, "max_source_positions": 100}),
        *(mels(20, "input_features_mask", time_first=False, frames=200), WHISPER_LAYERS, LONG_VALID),
        few=True,
    ),
    *entries_of(
        "GlmAsrEncoder", "GlmAsrEncoderConfig", {**_MELS, "max_position_embeddings": 100}, LONG, WHISPER_LAYERS
    ),
    *entries_of(
        *("MossTranscribeDiarizeAudioModel", "MossTranscribeDiarizeAudioConfig"),
        *({**_MELS, "max_source_positions": 100}, LONG, WHISPER_LAYERS),
    ),
    *entries_of(
        *("FunAsrNanoEncoder", "FunAsrNanoEncoderConfig"),
        {**_MELS, "num_stacked_frames": 3, "num_timestamp_prediction_layers": 1, "fsmn_kernel_size": 5},
        *(mels(60, "input_features_mask"), {"layers.{2}": BLOCKS}, EVERY),
    ),
    *entries_of(
        *("Nemotron3DiarizationAudioModel", "Nemotron3DiarizationAudioConfig", _MELS, mels(20)),
        *({"layers.{2}": BLOCKS}, [-(-n // 8) for n in EVERY]),
    ),
    *entries_of(
        *("OmniASRAudioModel", "OmniASRAudioConfig", _OMNI, waveforms(3, "padding_mask")),
        *({"subsampling": BLOCKS, "layers.{2}": BLOCKS}, VALID),
    ),
    *entries_of(
        *("OmniASRForCTC=model.audio_tower.", "OmniASRCTCConfig", {"audio_config": _OMNI, "vocab_size": 12}),
        *(waveforms(3, "padding_mask"), {"subsampling": BLOCKS, "layers.{2}": BLOCKS}, VALID),
    ),
    *entries_of(
        *("VoxtralRealtimeEncoder", "VoxtralRealtimeEncoderConfig", {**_MELS, "head_dim": 16, "sliding_window": 20}),
        *(mels(20, "", time_first=False), {"embedder": BLOCKS, "layers.{2}": BLOCKS}),
    ),
    *(
        Entry(
            *(
                "Gemma3nAudioEncoder",
                "Gemma3nAudioConfig",
                {**_GEMMA3N, "conf_reduction_factor": factor},
                _GEMMA_INPUTS,
            ),
            {"subsample_conv_projection": BLOCKS, "conformer.{2}": BLOCKS},
            [-(-n // 4) for n in EVERY],
            about=f"factor {factor}",
            few=factor == 2,
        )
        for factor in (1, 2)
    ),
    *entries_of(
        *("Phi4MultimodalAudioModel", "Phi4MultimodalAudioConfig", _PHI4),
        {"hidden_states": _PADDED["input_features"], "mask": _PADDED["attention_mask"].bool()},
        *({"embed": BLOCKS, "encoders.{2}": BLOCKS}, [-(-n // 8) for n in EVERY]),
    ),
    *entries_of(
        *("Dots3NoteAudioModel", "Dots3NoteAudioConfig", _DOTS),
        {"input_features": noise(4, 20, 100), "chunk_sample_lengths": torch.tensor([16000] * 4)},
        {"conv_stem": BLOCKS, "layers.{2}": BLOCKS},
    ),
    *entries_of(
        *("Pop2PianoForConditionalGeneration=encoder.", "Pop2PianoConfig"),
        {
            **{"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2, "vocab_size": 20},
            "decoder_start_token_id": 0,
        },
        *({"input_features": noise(4, 80, 32), **TOKENS}, {"block.{2}": BLOCKS}),
    ),
]
