"""A run as it goes, for TensorBoard: one event per epoch beside the run's own files."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neurofdfa.errors import UserError
from neurofdfa.lab.record import Epoch

FOLDER = "tensorboard"


@contextmanager
def tensorboard(folder: Path) -> Generator[Callable[[Epoch], None]]:
    """A function that writes each epoch into `folder/tensorboard`, which `tensorboard --logdir` shows.

    A resumed run goes on in the same charts. Raises `UserError` when TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise UserError(
            f"live charts need TensorBoard ({error}): pip install 'neurofdfa[live]', or drop --tensorboard"
        ) from error
    writers: list[Any] = []

    def tell(epoch: Epoch) -> None:
        if not writers:  # not before the run has made its folder, which must be new
            writers.append(SummaryWriter(str(folder / FOLDER), purge_step=epoch.epoch))
        for name, value in _scalars(epoch).items():
            writers[0].add_scalar(name, value, epoch.epoch)
        writers[0].flush()

    try:
        yield tell
    finally:
        for writer in writers:
            writer.close()


def _scalars(epoch: Epoch) -> dict[str, float]:
    found = {
        "accuracy/train": epoch.train_accuracy,
        "accuracy/validation": epoch.validation_accuracy,
        "loss/train": epoch.train_loss,
        "loss/validation": epoch.validation_loss,
        "seconds/epoch": epoch.seconds,
    }
    per_layer = {"rate": epoch.rates, "dead": epoch.psi_zero, "alignment": epoch.alignment or []}
    for name, values in per_layer.items():
        found |= {f"{name}/layer{layer}": value for layer, value in enumerate(values, 1)}
    return found
