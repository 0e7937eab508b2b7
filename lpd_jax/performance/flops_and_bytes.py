"""What a program must at least compute and read, counted from sizes alone.

Letters: N tokens of an image, D width, V codebook, P rows of the previous group, Q query rows.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax.numpy as jnp

from lpd_jax.decoding.scan import DEFAULT_NUM_SEGMENTS
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.decoding.step_table import make_segments, make_step_table, padded_rows
from lpd_jax.models.family import TransformerConfig, abstract_params
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.models.par_layout import PARConfig
from lpd_jax.models.vq_tokenizer import VQConfig
from lpd_jax.performance.benchmark_case import Case
from lpd_jax.performance.benchmark_model import Subject
from lpd_jax.performance.device_peaks import Ceilings
from lpd_jax.training.utilization import training_flops
from lpd_jax.weights.model_directory import flatten_params

# Passes over the weights: forward and backward read them, and gradients are written; AdamW reads
# gradients, weights and two moments, and writes all but the gradients.
TRAINING_PASSES = {"gradient": 3, "train": 10}


class Work(NamedTuple):
    """Of one run: rows of an image that the transformer sees, and what they cost."""

    exact_rows: int | None
    padded_rows: int | None  # with the padding of the schedule's segments
    num_segments: int | None  # None where none is padded
    flops: float
    tokenizer_flops: float  # in float32, whatever the transformer's dtype; among `flops`
    weight_bytes: float

    def floors(self, ceilings: Ceilings, dtype: str) -> tuple[float, float]:
        """Seconds to read the weights, and to do the arithmetic, at the measured ceilings."""
        rates = ceilings.matmul_flops
        seconds = (self.flops - self.tokenizer_flops) / rates[dtype]
        if self.tokenizer_flops:
            seconds += self.tokenizer_flops / rates["float32"]
        return self.weight_bytes / ceilings.copy_bandwidth, seconds


def count_work(case: Case, subject: Subject, schedule: GroupSchedule) -> Work:
    """Counts exact rows only, and of attention what some row may look at."""
    model, tokenizer, count = subject.transformer, subject.tokenizer, case.batch_size
    if case.task in TRAINING_PASSES:
        passes = TRAINING_PASSES[case.task]
        flops = (training_flops(model) or 0.0) * count
        return Work(None, None, None, flops, 0.0, passes * weight_bytes(model, "float32"))
    pixels, pixel_bytes = 0.0, 0.0
    if tokenizer is not None and case.task != "tokens":
        part = "encoder" if case.task == "encode" else "decoder"
        pixels = count * tokenizer_flops(tokenizer, part, model.grid_size)
        pixel_bytes = tokenizer_bytes(tokenizer, part)
    if case.task in ("decode", "encode"):
        return Work(None, None, None, pixels, pixels, pixel_bytes)
    batch = count * (2 if case.guidance_scale != 1 else 1)
    flops = batch * decoding_flops(model, schedule) + pixels
    read = schedule.num_steps * weight_bytes(model, case.dtype) + pixel_bytes
    return Work(*count_rows(model, schedule, case.num_segments), flops, pixels, read)


def count_rows(
    model: TransformerConfig, schedule: GroupSchedule, num_segments: int | None
) -> tuple[int, int, int | None]:
    """Rows of an image that must go through the model, that do, and segments of the schedule."""
    if isinstance(model, PARConfig):
        # Its segments are as wide as their steps.
        return model.num_tokens, model.num_tokens, None
    exact = make_segments(schedule, schedule.num_steps)
    segments = make_segments(schedule, num_segments or DEFAULT_NUM_SEGMENTS)
    return padded_rows(exact), padded_rows(segments), len(segments)


def decoding_flops(model: TransformerConfig, schedule: GroupSchedule) -> float:
    """FLOPs of an image's tokens without guidance: products, attention, logits of the queries."""
    D, seen_by_rows, rows = model.embed_dim, 0, 0
    for previous_start, query_start, query_end in zip(*make_step_table(schedule), strict=True):
        Q = int(query_end - query_start)
        if isinstance(model, LPDConfig):
            P = int(query_start - previous_start)
            seen_by_rows += P * int(query_start) + Q * int(query_end)
            rows += P + Q
        else:
            # Slot k predicts rank k, the class in front: a step ends one slot earlier.
            seen_by_rows += Q * int(query_end - 1)
            rows += Q
    blocks = 2 * block_weights(model) * rows + 2 * 2 * D * seen_by_rows  # scores, and values
    return model.num_layers * blocks + 2 * D * model.codebook_size * model.num_tokens


def block_weights(model: TransformerConfig) -> int:
    """Entries of the matrices of one layer."""
    D = model.embed_dim
    if isinstance(model, PARConfig):
        return 4 * D * D + 3 * D * model.mlp_dim
    return (4 + 2 * model.mlp_ratio) * D * D


def weight_bytes(model: TransformerConfig, dtype: str) -> int:
    """Of the weights that every step reads whole: tables are read by rows, and do not count."""
    return sum(
        leaf.size * (jnp.dtype(dtype).itemsize if path.endswith("kernel") else 4)
        for path, leaf in flatten_params(abstract_params(model)).items()
        if not path.endswith("_embed")
    )


def tokenizer_flops(config: VQConfig, part: str, grid_size: tuple[int, int]) -> float:
    """FLOPs of one image's way through the "encoder" or the "decoder", quantizer included."""
    tokens, last = math.prod(grid_size), len(config.channel_multipliers) - 1
    flops = 0.0
    for path, leaf in part_leaves(config, part):
        if not path.endswith("kernel"):
            continue
        places = tokens * 4 ** doublings(path, last)
        # Of doubled pixels two or four are one: see `convolution.by_phases`.
        weights = leaf.size * 4 // 9 if path.endswith("upsample/kernel") else leaf.size
        flops += 2 * weights * places
        if path.endswith("proj_out/kernel"):
            flops += 2 * 2 * leaf.shape[-1] * places**2  # scores, and values
    if part == "encoder":
        flops += 2 * tokens * config.codebook_size * config.codebook_dim
    return flops


def tokenizer_bytes(config: VQConfig, part: str) -> int:
    return 4 * sum(leaf.size for _, leaf in part_leaves(config, part))


def part_leaves(config: VQConfig, part: str) -> Iterable[tuple[str, Any]]:
    convolution = {"encoder": "quant_conv/", "decoder": "post_quant_conv/"}[part]
    leaves = flatten_params(abstract_params(config)).items()
    return [(path, leaf) for path, leaf in leaves if path.startswith((part + "/", convolution))]


def doublings(path: str, last: int) -> int:
    """How often the sides of the token grid are doubled where a convolution writes."""
    part, module, *_ = path.split("/")
    if module.startswith("conv_blocks_"):
        level = int(module.removeprefix("conv_blocks_").split("_")[0])
        if part == "encoder":
            return last - level - module.endswith("downsample")
        return level + module.endswith("upsample")
    outermost = {"encoder": "conv_in", "decoder": "conv_out"}.get(part)
    return last if module == outermost else 0
