"""The zoo's encoders of speech in log-mels and waveforms that came with decoders: Whisper, SeamlessM4T and others."""

from __future__ import annotations

from typing import Any

from zoo import COUNTS, FRAMES, SMALL, TOKENS, Entry, Inputs, Layers, mels, noise, through, waveforms
from zoo_waveforms import VALID, WAVE

SEQ: dict[str, Any] = {
    **{"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2},
    **{"decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "vocab_size": 20},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1},
}
EVERY = FRAMES.tolist()
BLOCKS = ("(B, T, C)", 32)


def entries_of(
    models: str, config: str, arguments: dict[str, Any], inputs: Inputs, layers: Layers, frames: Any = None, **more: Any
) -> list[Entry]:
    """Several classes of one configuration, each with what its paths begin with: ``"Model ForCTC=model."``."""
    found = []
    for number, one in enumerate(models.split()):
        model, _, prefix = one.partition("=")
        named = {prefix + path: what for path, what in layers.items()}
        counts = {prefix + path: some for path, some in frames.items()} if isinstance(frames, dict) else frames
        few = more.get("few", False) and number == 0
        found.append(Entry(model, config, arguments, inputs, named, counts, **{**more, "few": few}))
    return found


_BERT = {
    **{**SMALL, "feature_projection_input_dim": 20, "vocab_size": 12},
    **{name: WAVE[name] for name in WAVE if name.startswith(("tdnn", "xvector", "classifier"))},
}
_BERT_HEADS = "CTC SequenceClassification AudioFrameClassification XVector"
_AST = {**SMALL, "max_length": 80, "num_mel_bins": 64}
_S2T = {**SEQ, "conv_channels": 32, "input_feat_per_channel": 20, "max_source_positions": 300}
_S2T_VALID = through(FRAMES, (5, 2, 2), (5, 2, 2))
_WHISPER = {**SEQ, "max_source_positions": 100, "num_mel_bins": 20}
LONG = mels(20, "", time_first=False, frames=200)
LONG_MASKED = mels(20, time_first=False, frames=200)
LONG_VALID = through(FRAMES * 200 // 80, (3, 1, 1), (3, 2, 1))
WHISPER_LAYERS: Layers = {"conv2": ("(B, C, T)", 32), "layers.{2}": BLOCKS}
_MOONSHINE = {
    **{"hidden_size": 32, "encoder_num_hidden_layers": 2, "decoder_num_hidden_layers": 1, "vocab_size": 20},
    **{"encoder_num_attention_heads": 2, "decoder_num_attention_heads": 2, "intermediate_size": 48},
}
_MOONSHINE_VALID = through(COUNTS, (127, 64, 0), (7, 3, 0), (3, 2, 0))
_MOONSHINE_LAYERS: Layers = {"conv3": ("(B, C, T)", 32), "layers.{2}": BLOCKS}
_SPEECHT5 = {
    **{name: value for name, value in WAVE.items() if name not in SMALL},
    **{name: value for name, value in SEQ.items() if name != "d_model"},
    **{"hidden_size": 32, "num_mel_bins": 20},
}
_SEAMLESS = {
    **{"hidden_size": 32, "speech_encoder_layers": 2, "speech_encoder_attention_heads": 2, "pad_token_id": 0},
    **{"speech_encoder_intermediate_size": 48, "feature_projection_input_dim": 20, "vocab_size": 20},
    **{name: value for name, value in SEQ.items() if name.startswith(("encoder", "decoder"))},
    **{"encoder_layers": 1, "t2u_vocab_size": 20, "t2u_encoder_layers": 1, "t2u_decoder_layers": 1},
    **{"t2u_encoder_ffn_dim": 48, "t2u_decoder_ffn_dim": 48},
    **{"t2u_encoder_attention_heads": 2, "t2u_decoder_attention_heads": 2},
}
SPECTROGRAMS = [
    *entries_of(
        "Wav2Vec2BertModel " + " ".join(f"Wav2Vec2BertFor{head}=wav2vec2_bert." for head in _BERT_HEADS.split()),
        *("Wav2Vec2BertConfig", _BERT, mels(20), {"encoder.layers.{2}": BLOCKS}, EVERY),
    ),
    *(
        one
        for about, changes in (
            ("rotary", {"position_embeddings_type": "rotary"}),
            ("relative", {"position_embeddings_type": "relative"}),
            ("adapter", {"add_adapter": True}),
        )
        for one in entries_of(
            *("Wav2Vec2BertModel", "Wav2Vec2BertConfig", {**_BERT, **changes}, mels(20)),
            *({"encoder.layers.{2}": BLOCKS}, EVERY),
            about=about,
        )
    ),
    *entries_of(
        *("ASTModel ASTForAudioClassification=audio_spectrogram_transformer.", "ASTConfig", _AST),
        mels(64, "", "input_values"),
        {"embeddings": ("(B, 2 + FT, C)", 32, 5), "layers.{2}": ("(B, 2 + FT, C)", 32, 5)},
        few=True,
    ),
    *entries_of(
        *("ASTModel", "ASTConfig", {**_AST, "frequency_stride": 16, "time_stride": 16}),
        mels(64, "", "input_values"),
        {"embeddings": ("(B, 2 + FT, C)", 32, 4), "layers.{2}": ("(B, 2 + FT, C)", 32, 4)},
        about="patches side by side",
    ),
    *entries_of(
        *("Speech2TextModel", "Speech2TextConfig", _S2T, mels(20)),
        *({"conv": BLOCKS, "layers.{2}": BLOCKS}, _S2T_VALID),
        part="encoder",
        few=True,
    ),
    *entries_of(
        "Speech2TextModel=encoder. Speech2TextForConditionalGeneration=model.encoder.",
        *("Speech2TextConfig", _S2T, {**mels(20), **TOKENS}, {"conv": BLOCKS, "layers.{2}": BLOCKS}, _S2T_VALID),
    ),
    *entries_of("WhisperModel", "WhisperConfig", _WHISPER, LONG, WHISPER_LAYERS, part="encoder", few=True),
    *entries_of(
        "WhisperModel=encoder. WhisperForConditionalGeneration=model.encoder.",
        *("WhisperConfig", _WHISPER, {**LONG, **TOKENS}, WHISPER_LAYERS),
    ),
    *entries_of("WhisperForAudioClassification=encoder.", "WhisperConfig", _WHISPER, LONG, WHISPER_LAYERS),
    *entries_of(
        "WhisperModel=encoder. WhisperForConditionalGeneration=model.encoder.",
        *("WhisperConfig", _WHISPER, {**LONG_MASKED, **TOKENS}, WHISPER_LAYERS, LONG_VALID),
        about="padded",
    ),
    *entries_of(
        *("MoonshineModel", "MoonshineConfig", _MOONSHINE, waveforms(), _MOONSHINE_LAYERS, _MOONSHINE_VALID),
        part="encoder",
        few=True,
    ),
    *entries_of(
        "MoonshineModel=encoder. MoonshineForConditionalGeneration=model.encoder.",
        *("MoonshineConfig", _MOONSHINE, {**waveforms(), **TOKENS}, _MOONSHINE_LAYERS, _MOONSHINE_VALID),
    ),
    *entries_of(
        *("MoonshineStreamingEncoder", "MoonshineStreamingEncoderConfig"),
        {**SMALL, "num_key_value_heads": 2, "sliding_windows": ((16, 4), (16, 0))},
        *(
            waveforms(),
            {"embedder": BLOCKS, "layers.{2}": BLOCKS},
            [min(n, 25) for n in through(COUNTS // 80, (1, 2, 2), (1, 2, 2))],
        ),
        few=True,
    ),
    *entries_of(
        *("SpeechT5EncoderWithSpeechPrenet", "SpeechT5Config", _SPEECHT5, waveforms()),
        *({"prenet": BLOCKS, "wrapped_encoder.layers.{2}": BLOCKS}, VALID),
        few=True,
    ),
    *entries_of(
        *("SpeechT5ForSpeechToText=speecht5.encoder.", "SpeechT5Config", _SPEECHT5, {**waveforms(), **TOKENS}),
        *({"prenet": BLOCKS, "wrapped_encoder.layers.{2}": BLOCKS}, VALID),
    ),
    *entries_of(
        *("SpeechT5ForSpeechToSpeech=speecht5.encoder.", "SpeechT5Config", _SPEECHT5),
        {**waveforms(), "decoder_input_values": noise(4, 10, 20), "speaker_embeddings": noise(4, 512)},
        *({"prenet": BLOCKS, "wrapped_encoder.layers.{2}": BLOCKS}, VALID),
    ),
    *(
        one
        for version in ("", "v2")
        for about, changes in (("", {}), ("no adapter", {"add_adapter": False}))
        for one in entries_of(
            *(f"SeamlessM4T{version}SpeechEncoder", f"SeamlessM4T{version}Config", {**_SEAMLESS, **changes}),
            *(mels(20), {"encoder.layers.{2}": BLOCKS}, EVERY),
            about=about,
        )
    ),
    *(
        one
        for version in ("", "v2")
        for one in entries_of(
            *(f"SeamlessM4T{version}ForSpeechToText=speech_encoder.", f"SeamlessM4T{version}Config", _SEAMLESS),
            *({**mels(20), **TOKENS}, {"encoder.layers.{2}": BLOCKS}, EVERY),
        )
    ),
    *entries_of(
        *("SeamlessM4TSpeechEncoder", "SeamlessM4TConfig", {**_SEAMLESS, "position_embeddings_type": "rotary"}),
        *(mels(20), {"encoder.layers.{2}": BLOCKS}, EVERY),
        about="rotary",
    ),
]
