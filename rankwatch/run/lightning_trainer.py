"""Everything that is asked of Lightning's trainer and module."""

from __future__ import annotations

from typing import Any

from torch import nn

from rankwatch.runtime.files.run_paths import RunPath, run_path


def outermost_module(trainer: Any, pl_module: Any) -> nn.Module:
    """The module inside the strategy's wrappers (FSDP's, DDP's), or the module itself."""
    wrapped = getattr(trainer.strategy, "model", None)
    return wrapped if isinstance(wrapped, nn.Module) else pl_module


def checkpoints(trainer: Any) -> tuple[list[str], list[str]]:
    """Paths of the checkpoints that the trainer's own callbacks have written.

    Returns:
        Those whose files never change, and those that are written into again (``last.ckpt``).
    """
    stable: list[str] = []
    rewritten: list[str] = []
    for callback in trainer.checkpoint_callbacks:
        stable += [*getattr(callback, "best_k_models", {}), getattr(callback, "best_model_path", "")]
        rewritten.append(getattr(callback, "last_model_path", ""))
    return [path for path in stable if path not in rewritten], rewritten


def run_folder(trainer: Any) -> RunPath:
    """Where rankwatch's files go; all processes must call this, since `log_dir` is a collective."""
    folder = run_path(trainer.log_dir or trainer.default_root_dir)
    logger = trainer.loggers[0] if trainer.loggers else None
    if logger is not None and not hasattr(logger, "log_dir"):  # a folder for all runs: W&B, MLflow, ...
        folder /= str(trainer.strategy.broadcast(f"{logger.name}-{logger.version}"))
    return folder / "rankwatch"


def builds_layers_late(pl_module: Any) -> bool:
    """Whether layers may be built or compiled in the module's `setup` or `configure_model`: after the callback's."""
    return any(_is_overridden(pl_module, hook) for hook in ("setup", "configure_model"))


def _is_overridden(pl_module: Any, hook: str) -> bool:
    owner = next(cls for cls in type(pl_module).__mro__ if hook in vars(cls))
    return not owner.__module__.startswith(("pytorch_lightning.", "lightning."))
