"""One protocol for each curve: what was found first stays."""

from rankwatch.extraction.taps.layer_taps import LayerTaps
from rankwatch.extraction.taps.operations import TAPS, role_of


def test_what_was_found_first_stays():
    taps = LayerTaps()
    taps.note("music", "layers.0", "unknown")
    assert taps.of("music", "layers.0") == "unknown"
    taps.note("music", "layers.0", "norm")
    taps.note("music", "layers.0", "other")
    assert taps.of("music", "layers.0") == "norm"
    assert taps.of_all([("music", "layers.0"), ("music", "layers.1")]) == {("music", "layers.0"): "norm"}


def test_the_training_pass_has_what_evaluation_sets_show_and_else_what_its_gradients_show():
    taps = LayerTaps()
    taps.note("music", "layers.0", "before_sum")
    taps.note_by_gradients("layers.0", "linear")
    taps.note_by_gradients("layers.1", "linear")
    assert [taps.of("train", layer) for layer in ("layers.0", "layers.1")] == ["before_sum", "linear"]
    assert [taps.lacks(layer) for layer in ("layers.0", "layers.1", "layers.2")] == [False, False, True]


def test_a_curve_whose_tap_was_said_keeps_it():
    taps = LayerTaps()
    taps.note_by_gradients("layers.0", "linear")
    assert taps.of("train", "layers.0") == "linear"
    taps.note("music", "layers.0", "before_sum")  # the set could not be read at first
    assert taps.of("train", "layers.0") == "linear"
    assert taps.of("music", "layers.0") == taps.of_any("layers.0") == "before_sum"


def test_names_of_the_forward_pass_and_of_gradients_are_one_vocabulary():
    pairs = {
        "native_layer_norm": "NativeLayerNormBackward0",
        "_native_batch_norm_legit_no_training": "NativeBatchNormBackward0",
        "add_": "AddBackward0",
        "convolution": "ConvolutionBackward0",
        "_scaled_dot_product_flash_attention_for_cpu": "ScaledDotProductFlashAttentionForCpuBackward0",
        "gelu": "GeluBackward0",
        "_unsafe_view": "UnsafeViewBackward0",
        "max_pool2d_with_indices": "MaxPool2DWithIndicesBackward0",
    }
    roles = [role_of(name) for name in pairs]
    assert roles == [role_of(name) for name in pairs.values()]
    assert roles == ["norm", "norm", "sum", "linear", "linear", "activation", "same", "other"]
    assert set(roles) - {"sum", "same"} <= set(TAPS)
