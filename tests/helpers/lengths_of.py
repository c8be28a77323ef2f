"""Lengths of layers as the row extractor finds them, from a call and its batch."""

from dataclasses import replace

from rankwatch.extraction.valid_frames.length_candidates import input_candidates
from rankwatch.extraction.valid_frames.length_matching import inputs_of
from rankwatch.extraction.valid_frames.valid_lengths import resolve_lengths as _resolve


def resolve_lengths(observed, *, args, kwargs, batch, spec="auto", root=None, forward=None, unwatched=()):
    """Valid frames by layer, from what a forward pass was given."""
    size = observed[0].hidden.shape[0] if observed else 0
    found = input_candidates(args, kwargs, batch, batch_size=size, forward=forward)
    front_ends = [one.layer.module for one in observed if one.layer.kind == "frontend"]
    inputs = replace(inputs_of(args, kwargs, batch, size, root, front_ends), unwatched=frozenset(unwatched))
    return _resolve(observed, found, inputs, batch=batch, spec=spec)
