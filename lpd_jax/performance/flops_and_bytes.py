"""What a program must at least compute and read, counted from sizes alone."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.models.family import tokenizer_of, transformer_of
from lpd_jax.models.parameters import abstract_params
from lpd_jax.models.pixels import pixels_dtype
from lpd_jax.performance.benchmark_case import DRAWING, TRAINING, BenchmarkCase
from lpd_jax.performance.benchmark_model import BenchmarkModel
from lpd_jax.performance.device_peaks import DevicePeaks
from lpd_jax.training.utilization import training_flops

# Passes over the weights: forward and backward read them, and gradients are written; AdamW reads
# gradients, weights and two moments, and writes all but the gradients.
TRAINING_PASSES = {"gradient": 3, "train": 10}


class Work(NamedTuple):
    """Of one run: rows of an image that the transformer sees, and what they cost."""

    exact_rows: int | None
    padded_rows: int | None  # with the padding of the schedule's segments
    num_segments: int | None  # None where none is padded
    flops: float
    tokenizer_flops: float  # among `flops`; in `pixels_dtype` of the transformer's
    weight_bytes: float

    def lower_bounds(self, peaks: DevicePeaks, dtype: str) -> tuple[float, float]:
        """Seconds to read the weights, and to do the arithmetic, at the measured peaks."""
        rates = peaks.matmul_flops
        seconds = (self.flops - self.tokenizer_flops) / rates[dtype]
        if self.tokenizer_flops:
            seconds += self.tokenizer_flops / rates[jnp.dtype(pixels_dtype(dtype)).name]
        return self.weight_bytes / peaks.copy_bandwidth, seconds


def count_work(case: BenchmarkCase, model: BenchmarkModel, schedule: GroupSchedule) -> Work:
    """Counts exact rows only, and of attention what some row may look at."""
    if case.task in TRAINING:
        flops = (training_flops(model.transformer) or 0.0) * case.batch_size
        read = TRAINING_PASSES[case.task] * weight_bytes(model.transformer, "float32")
        return Work(None, None, None, flops, 0.0, read)
    pixels, pixel_bytes = count_pixels(case, model)
    if case.task not in DRAWING:
        return Work(None, None, None, pixels, pixels, pixel_bytes)
    family = transformer_of(model.transformer)
    batch = case.batch_size * (2 if case.guidance_scale != 1 else 1)
    flops = batch * (family.decoding_flops(schedule) or 0.0) + pixels
    read = schedule.num_steps * weight_bytes(model.transformer, case.dtype) + pixel_bytes
    rows = family.count_rows(schedule, case.num_segments)
    return Work(*rows, flops, pixels, read)


def count_pixels(case: BenchmarkCase, model: BenchmarkModel) -> tuple[float, int]:
    """FLOPs of a run, and bytes of weights, in the tokenizer; 0 in a task without it."""
    if model.tokenizer is None or case.task == "tokens":
        return 0.0, 0
    family = tokenizer_of(model.tokenizer)
    part = "encoder" if case.task == "encode" else "decoder"
    flops = case.batch_size * family.part_flops(part, model.transformer.grid_size)
    return flops, family.part_bytes(part)


def weight_bytes(config: Any, dtype: str) -> int:
    """Of the weights that every step reads whole: tables are read by rows, and do not count."""
    return sum(
        leaf.size * (jnp.dtype(dtype).itemsize if path.endswith("kernel") else 4)
        for path, leaf in flatten_dict(abstract_params(config), sep="/").items()
        if not path.endswith("_embed")
    )
