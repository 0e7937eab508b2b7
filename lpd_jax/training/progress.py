"""What a run tells while it goes on: a bar with images/s, train.log, and its metric writers."""

import contextlib
import errno
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

import jax
import numpy as np
from tqdm import tqdm

from lpd_jax.images import save_png
from lpd_jax.runtime.appended_files import AppendedFile
from lpd_jax.runtime.disk_faults import DiskError, disk_error, writing
from lpd_jax.runtime.errors import printable
from lpd_jax.training.metric_writers import MetricWriter
from lpd_jax.training.utilization import peak_flops
from lpd_jax.weights.checkpoint import Checkpoints

LOG_FILE = "train.log"
SAMPLES_FOLDER = "samples"


class Stopwatch:
    """Seconds and images of training steps since they were last read; pauses do not count."""

    def __init__(self, batch_size: int, image_flops: float | None):
        self.batch_size, self.image_flops = batch_size, image_flops
        self.clock: float | None = None  # when the step before this one ended
        self.seconds, self.waited, self.images = 0.0, 0.0, 0
        self.waiting = 0.0

    def step_ended(self) -> None:
        now = time.perf_counter()
        if self.clock is not None:
            self.seconds += now - self.clock
            self.waited += self.waiting
            self.images += self.batch_size
        self.clock, self.waiting = now, 0.0

    def pause(self) -> None:
        """Leaves the time until the end of the next step out."""
        self.clock = None

    @contextlib.contextmanager
    def input(self) -> Iterator[None]:
        """Counts as waiting for data."""
        start = time.perf_counter()
        yield
        self.waiting += time.perf_counter() - start

    def read(self) -> dict[str, float]:
        """Images per second, share of the time that input took, model FLOPs utilisation.

        The last is left out where the FLOPs of the model or the peak of the device are unknown.
        """
        if not self.images:
            return {}
        rate = self.images / self.seconds
        values = {"images_per_second": rate, "input_wait_share": self.waited / self.seconds}
        peak = peak_flops(jax.devices()[0].device_kind)
        if self.image_flops and peak:
            values["flops_utilization"] = rate * self.image_flops / (peak * jax.device_count())
        self.seconds, self.waited, self.images = 0.0, 0.0, 0
        return values


class Progress:
    """Writes to the terminal, to a workdir's train.log and samples, and by the metric writers.

    Of several processes the first one tells, the others are silent and write nothing.

    Args:
        checkpoints: of the run. It goes on without pictures and events that the disk does not
            take, as long as the next checkpoint fits, and warns once of each. Pictures leave that
            room free.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        first_step: int,
        last_step: int,
        batch_size: int,
        *,
        writers: Sequence[MetricWriter] = (),
        image_flops: float | None = None,
        push: Callable[[], None] = lambda: None,
        checkpoints: Checkpoints | None = None,
    ):
        self.workdir, self.batch_size, self.writers = workdir, batch_size, writers
        self.push = push  # brings what was written to where it is kept
        self.checkpoints = checkpoints
        self.warned: set[str] = set()
        self.tells = jax.process_index() == 0
        self.stopwatch = Stopwatch(batch_size, image_flops)
        self.file = AppendedFile(workdir / LOG_FILE, "the log") if self.tells else None
        self.bar = tqdm(
            total=last_step * batch_size,
            initial=(first_step - 1) * batch_size,
            unit="image",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not self.tells,
        )

    def advance(self) -> None:
        """Counts one training step that has ended."""
        self.stopwatch.step_ended()
        self.bar.update(self.batch_size)

    def report(self, step: int, kind: str, metrics: Mapping[str, float]) -> None:
        """Records metrics; `kind` is "train", shown at the bar, or "validation", a line of its own.

        Training metrics are joined by what the stopwatch says since they were last reported.
        """
        values = {name: metrics[name] for name in ("loss",) if name in metrics} | dict(metrics)
        if kind == "train":
            values |= self.stopwatch.read()
            self.bar.set_postfix_str(f"loss {values['loss']:.3f}")
        for writer in self.writers:
            with self.expendable(writer.what, writer.path, writer.essential):
                writer.metrics(step, kind, values)
        text = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        self.line(f"step {step} {kind}: {text}", show=kind != "train")

    def picture(self, step: int, picture_HWC: np.ndarray) -> None:
        """Saves a uint8 picture as `samples/step_0000500.png`; metric writers get it too."""
        if not self.tells:
            return
        folder = self.workdir / SAMPLES_FOLDER
        if self.checkpoints and not self.checkpoints.has_room():
            what, needed = "the sample pictures", self.checkpoints.needed
            self.warn(what, disk_error(what, folder, errno.ENOSPC, picture_HWC.nbytes + needed))
            return
        with self.expendable("the sample pictures", folder):
            folder.mkdir(exist_ok=True)
            save_png(folder / f"step_{step:07d}.png", picture_HWC)
        for writer in self.writers:
            with self.expendable(writer.what, writer.path, writer.essential):
                writer.picture(step, picture_HWC)

    @contextlib.contextmanager
    def expendable(self, what: str, path: pathlib.Path, essential: bool = False) -> Iterator[None]:
        """Inside, `what` is written that a run can do without, unless it is essential."""
        try:
            with writing(what, path):
                yield
        except DiskError as error:
            if essential or not (self.checkpoints is None or self.checkpoints.next_fits()):
                raise
            self.warn(what, error)

    def warn(self, what: str, error: DiskError) -> None:
        """Says once that a run goes on without something."""
        if what not in self.warned:
            self.warned.add(what)
            self.line(f"{error}; training goes on without", stream=sys.stderr)

    def line(self, text: str, show: bool = True, stream: TextIO | None = None) -> None:
        """Adds a line to train.log, and shows it above the bar, on standard output by default."""
        if self.file is None:
            return
        self.file.add(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {printable(text)}\n".encode())
        if show:
            self.bar.write(text, file=stream)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.close()
        for writer in self.writers:
            writer.close()
        if self.file is not None:
            self.file.close()
