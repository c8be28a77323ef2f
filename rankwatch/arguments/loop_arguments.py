"""What a training loop of one's own passes besides the settings, checked before anything is attached."""

from __future__ import annotations

from torch import nn

from rankwatch.runtime.argument_kinds import is_path, is_text, refusal, takes


def check_loop_arguments(
    owner: str, *, model: object, folder: object, optimizer: object, writer: object, precision: object, autocast: object
) -> None:
    """Refuse an argument of the wrong kind; see `rankwatch.Watch` for the meaning of each.

    Args:
        owner: The class, for the message.
        model: A module.
        folder: A path.
        optimizer: An optimiser or what wraps one, or None.
        writer: Whatever readings can be written to, or None.
        precision: A word.
        autocast: A function without arguments.

    Raises:
        ValueError: With the argument and what it may be.
    """
    scalars = hasattr(writer, "add_scalar") and hasattr(writer, "add_custom_scalars")
    known = {
        "model": (model, isinstance(model, nn.Module), "a torch.nn.Module"),
        "folder": (folder, is_path(folder), "a folder: a string or a pathlib.Path"),
        "optimizer": (
            optimizer,
            optimizer is None or (hasattr(optimizer, "param_groups") and not isinstance(optimizer, type)),
            "one optimiser, which has param_groups, or None",
        ),
        "writer": (
            writer,
            writer is None or ((scalars or hasattr(writer, "log_metrics")) and not isinstance(writer, type)),
            "a SummaryWriter, something with log_metrics(metrics, step), or None",
        ),
        "precision": (precision, is_text(precision), "a word, for example 'bf16-mixed'"),
        "autocast": (
            autocast,
            takes(autocast, 0),
            "a function without arguments that returns a context manager, for example "
            'lambda: torch.autocast("cuda", torch.bfloat16)',
        ),
    }
    for name, (value, fits, wanted) in known.items():
        if not fits:
            raise ValueError(refusal(owner, name, value, wanted))
