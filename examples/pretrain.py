"""Pretrain a small speech model and watch its rank.

    python examples/pretrain.py                                        # data2vec on synthesised speech
    python examples/pretrain.py fit --config configs/hubert.yaml
    python examples/pretrain.py fit --config configs/data2vec_broken.yaml --data.folder PATH
    python examples/pretrain.py fit --help

Everything is in the YAML file and can be overridden by an option. Runs lie under ``runs/``:
``tensorboard --logdir runs``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from audio_data import AudioDataModule
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LightningCLI

from rankwatch import CollapseError

DEFAULT = Path(__file__).resolve().parents[1] / "configs" / "data2vec.yaml"
SUBCOMMANDS = {"fit", "validate", "test", "predict"}


def with_defaults(arguments: Sequence[str]) -> list[str]:
    """Complete the command line: ``fit`` without a subcommand, data2vec's config without one."""
    completed = list(arguments)
    if not SUBCOMMANDS & set(completed) and "-h" not in completed and "--help" not in completed:
        completed.insert(0, "fit")
    has_config = any(a in ("-c", "--config") or a.startswith("--config=") for a in completed)
    if "fit" in completed and not has_config:
        place = completed.index("fit") + 1
        completed[place:place] = ["--config", str(DEFAULT)]
    return completed


def main() -> LightningCLI:
    """Run LightningCLI on the command line; with ``on_collapse: raise`` a collapse has an exit status of its own."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("rankwatch").setLevel(logging.INFO)
    sys.argv[1:] = with_defaults(sys.argv[1:])
    try:
        return LightningCLI(
            LightningModule,
            AudioDataModule,
            subclass_mode_model=True,
            save_config_kwargs={"overwrite": True},
            auto_configure_optimizers=False,
        )
    except CollapseError as collapse:
        sys.exit(collapse.exit_status)


if __name__ == "__main__":
    main()
