"""Folders of DeepSpeed's: the model in one file beside the optimiser's shards (ZeRO 1 and 2), or in shards itself (3).

The layout is that of DeepSpeed's ``DeepSpeedEngine.save_checkpoint``: in the folder that it is given one folder for
each tag (``global_step100``), a file ``latest`` with the newest tag, and a script that makes whole weights of shards.
Lightning gives it a folder for each checkpoint, whose only tag is ``checkpoint``.
"""

from __future__ import annotations

from pathlib import Path

from rankwatch.checkpoints.plain_load import BrokenCheckpointError
from rankwatch.runtime.files.run_paths import RunPath

WHOLE_MODEL = "mp_rank_00_model_states.pt"
_FIRST_SHARD = "zero_pp_rank_0_mp_rank_00_model_states.pt"
_SECOND_PART = "mp_rank_01_model_states.pt"
_OPTIMIZER = "*zero_pp_rank_0_mp_rank_00_optim_states.pt"  # in bfloat16 it begins with bf16_
_SCRIPT = "zero_to_fp32.py"
_LIGHTNING_TAG = "checkpoint"
_NEWEST = "latest"


def is_deepspeed(folder: RunPath) -> bool:
    """Whether a folder is one checkpoint of DeepSpeed's: of one tag, or as Lightning writes it.

    Args:
        folder: Here or in a store.

    Returns:
        True for these; False for a folder that holds those of several tags, each of which is a checkpoint.
    """
    inner = (folder, folder / _LIGHTNING_TAG)
    return any((one / name).exists() for one in inner for name in (WHOLE_MODEL, _FIRST_SHARD))


def model_states(folder: Path) -> Path | None:
    """The file with the whole model.

    Args:
        folder: Of one tag, or one with several, of which the newest counts.

    Returns:
        The file; None where this is no folder of DeepSpeed's.

    Raises:
        BrokenCheckpointError: If the model is in shards, with the command that makes one of them.
    """
    tag = _tag_folder(folder)
    if tag is None:
        if (folder / _SCRIPT).exists():
            raise BrokenCheckpointError(f"{folder} has DeepSpeed's {_SCRIPT}, and none of its checkpoints beside it")
        return None
    if not (tag / WHOLE_MODEL).exists():
        raise BrokenCheckpointError(_how_to_join(tag))
    if (tag / _SECOND_PART).exists():
        raise BrokenCheckpointError(
            f"{tag} holds a model that DeepSpeed has split by tensor or pipeline parallelism ({_SECOND_PART}), which "
            "isn't put together here: write its weights as one file with the program that trained it"
        )
    return tag / WHOLE_MODEL


def optimizer_states(folder: Path) -> Path | None:
    """The first process's share of the optimiser's state, which has the learning rate.

    Args:
        folder: As for `model_states`.

    Returns:
        The file, or None where there is none.
    """
    tag = _tag_folder(folder)
    return None if tag is None else next(iter(sorted(tag.glob(_OPTIMIZER))), None)


def _tag_folder(folder: Path) -> Path | None:
    """The folder of one tag: itself, or that below it which Lightning or ``latest`` names."""
    newest = folder / _NEWEST
    named = newest.read_text(encoding="utf-8").strip() if newest.is_file() else _LIGHTNING_TAG
    for one in (folder, folder / named, folder / _LIGHTNING_TAG):
        if (one / WHOLE_MODEL).exists() or (one / _FIRST_SHARD).exists():
            return one
    return None


def _how_to_join(tag: Path) -> str:
    """The script is in the folder above, takes that folder and the tag, and writes a file or, of late, a folder."""
    above = tag.parent
    joined = above.parent / f"{above.stem}.bin" if tag.name == _LIGHTNING_TAG else above / f"{tag.name}.bin"
    return (
        f"{tag} holds the model in shards (DeepSpeed's ZeRO stage 3): make whole weights of them with the script that "
        f"DeepSpeed has put there, python {above / _SCRIPT} {above} {joined} --tag {tag.name}, "
        f"and name {joined} instead"
    )
