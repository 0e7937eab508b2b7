"""What a run tells while it goes on: a bar with images/s, lines, train.log, TensorBoard."""

import pathlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from lpd_jax.images import save_png

LOG_FILE = "train.log"
SAMPLES_FOLDER = "samples"


class Progress:
    """Writes to the terminal and to a workdir. TensorBoard names are `train/loss` and the like."""

    def __init__(self, workdir: pathlib.Path, first_step: int, last_step: int, batch_size: int):
        self.workdir, self.batch_size = workdir, batch_size
        # Steps from first_step on may be there from a run that was stopped after its checkpoint.
        self.writer = SummaryWriter(str(workdir), purge_step=first_step)
        self.file = open(workdir / LOG_FILE, "a", encoding="utf-8")  # noqa: SIM115 - closed below
        self.bar = tqdm(
            total=last_step * batch_size,
            initial=(first_step - 1) * batch_size,
            unit="image",
            unit_scale=True,
            dynamic_ncols=True,
        )
        self.clock: float | None = None  # when the step before this one ended
        self.timed_seconds, self.timed_images = 0.0, 0

    def advance(self) -> None:
        """Counts one training step that has ended."""
        now = time.perf_counter()
        if self.clock is not None:
            self.timed_seconds += now - self.clock
            self.timed_images += self.batch_size
        self.clock = now
        self.bar.update(self.batch_size)

    def pause(self) -> None:
        """Leaves the time until the end of the next step out of the images per second."""
        self.clock = None

    def report(self, step: int, kind: str, metrics: Mapping[str, float]) -> None:
        """Records metrics; `kind` is "train", shown at the bar, or "validation", a line of its own.

        Training metrics are joined by the images per second since they were last reported.
        """
        values = {"loss": metrics["loss"], **metrics}
        if kind == "train" and self.timed_images:
            values["images_per_second"] = self.timed_images / self.timed_seconds
            self.timed_seconds, self.timed_images = 0.0, 0
        for name, value in values.items():
            self.writer.add_scalar(f"{kind}/{name}", value, step)
        text = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        self.line(f"step {step} {kind}: {text}", show=kind != "train")
        if kind == "train":
            self.bar.set_postfix_str(f"loss {values['loss']:.3f}")

    def picture(self, step: int, picture_HWC: np.ndarray) -> None:
        """Saves a uint8 picture as `samples/step_0000500.png` and for TensorBoard."""
        folder = self.workdir / SAMPLES_FOLDER
        folder.mkdir(exist_ok=True)
        save_png(folder / f"step_{step:07d}.png", picture_HWC)
        self.writer.add_image("samples", picture_HWC, step, dataformats="HWC")

    def line(self, text: str, show: bool = True) -> None:
        """Adds a line to train.log, and shows it above the bar."""
        self.file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        self.file.flush()
        if show:
            self.bar.write(text)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.close()
        self.writer.close()
        self.file.close()
