"""What torch's operations do to hidden states, as far as it matters for where a layer was tapped."""

from __future__ import annotations

import re
from functools import cache

RESIDUAL_SUM = "residual_sum"
"""The sum of the residual path and a branch; nothing was done to it after that. So ends a pre-norm block."""
NORM = "norm"
"""What a normalisation gave. So ends a post-norm block, and a conformer block."""
BEFORE_SUM = "before_sum"
"""A branch before it is added to the residual path: a feed-forward part or an attention that is watched by itself."""
ACTIVATION = "activation"
"""What an activation gave. So end most convolutional front ends, and a ResNet's block, whose sum comes before it."""
LINEAR = "linear"
"""What a linear map, a convolution or an attention gave, and nothing was added to it."""
OTHER = "other"
"""What some other operation gave: a recurrent layer, a pooling, a gate."""
UNKNOWN = "unknown"
"""It could not be seen (compiled code without its eager form, kernels from outside of torch), or was never recorded."""
TAPS = (RESIDUAL_SUM, NORM, BEFORE_SUM, ACTIVATION, LINEAR, OTHER, UNKNOWN)

SAME = "same"
"""The same numbers, in another shape or type, masked, chosen, or with dropout."""
JOINED = "joined"
"""Parts, one after another along an axis."""
SUM = "sum"
"""A residual sum, if both operands are hidden states; else a bias, which changes nothing here."""
SCALED = "scaled"
"""A gate, if both operands are hidden states; else the same numbers times something that is fixed."""

_NAMES = {
    SAME: (
        "alias asstrided chunk clamp clampmax clampmin clone constantpadnd contiguous copy detach dropout expand "
        "featuredropout flatten flip gather index indexput indexselect lift liftfresh maskedfill movedim nantonum "
        "narrow nativedropout nestedfrompadded nestedtensorfrommask packpaddedsequence padpackedsequence permute "
        "reshape reshapealias roll select slice split splitwithsizes squeeze t to tocopy topaddedtensor transpose "
        "unbind unfold unsafesplit unsafeview unsqueeze view where"
    ),
    JOINED: "cat stack",
    SUM: "add addcmul",
    SCALED: "mul div sub rsub",
    ACTIVATION: (
        "celu elu gelu glu hardsigmoid hardswish hardtanh leakyrelu logsigmoid mish prelu prelukernel relu rrelu "
        "rreluwithnoise selu sigmoid silu softplus softshrink tanh threshold"
    ),
    LINEAR: "addbmm addmm addmv baddbmm bmm convtbc intmm linear matmul mkldnnlinear mm mv scaledmm",
    UNKNOWN: "empty emptylike emptypermuted emptystrided newempty newemptystrided",
}
"""Operations by role, as `role_of` writes their names."""
_ROLES = {name: role for role, names in _NAMES.items() for name in names.split()}
_NORM = re.compile("(layer|batch|group|instance|rms)norm")
_MAP = re.compile("convolution|^(thnn|slow)?conv(depthwise|transpose)?[123]d|attention|attn")


@cache
def role_of(name: str) -> str:
    """What an operation is.

    Args:
        name: As torch's dispatcher calls it (``"native_layer_norm"``, ``"add_"``), or as a step of its gradients is
            called (``"NativeLayerNormBackward0"``).

    Returns:
        `SAME`, `JOINED`, `SUM` or `SCALED`, where it depends on what it is done to; else what the tensor is that it
        makes, one of `TAPS`.

    Example:
        >>> role_of("native_layer_norm"), role_of("AddBackward0"), role_of("_to_copy"), role_of("max_pool1d")
        ('norm', 'sum', 'same', 'other')
    """
    plain = re.sub(r"Backward\d*$", "", name).replace("_", "").lower()
    if plain in _ROLES:
        return _ROLES[plain]
    if _NORM.search(plain):
        return NORM
    return LINEAR if _MAP.search(plain) else OTHER
