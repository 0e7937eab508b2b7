"""Tables that are made by name."""

from lpd_jax.models.family import is_tokenizer, published_models
from lpd_jax.models.parameters import count_params
from lpd_jax.performance.benchmark_case import BenchmarkCase

LARGE = 10**9  # parameters, from which on a CPU takes minutes a picture
GUIDED = 4.8  # LPD-L's published scale; any but 1 costs the same


def readme_cases() -> list[BenchmarkCase]:
    """The README's table: LPD-L beside PAR and LlamaGen of its width, as published; in float32."""

    def drawn(
        model: str, batch_size: int = 1, num_steps: int | None = None, **choices
    ) -> BenchmarkCase:
        choices = {"guidance_scale": GUIDED, "num_repeats": 5} | choices
        return BenchmarkCase(model, batch_size=batch_size, num_steps=num_steps, **choices)

    return [
        drawn("lpd_l", 1, 20),
        drawn("lpd_l", 4, 20),
        drawn("lpd_l", 1, 20, task="images", tokenizer="vq16"),
        drawn("lpd_l", 1, 20, guidance_scale=1.0),
        drawn("lpd_l", 1, 32),
        drawn("lpd_l", 1, 256, num_repeats=3),
        drawn("par_l_16x", 1, num_repeats=3),
        drawn("par_l_4x", 1, num_repeats=3),
        drawn("llamagen_l", 1, num_repeats=3),
        BenchmarkCase("lpd_l", "decode", "vq16"),
        BenchmarkCase("lpd_l", "encode", "vq16"),
        BenchmarkCase("lpd_l", "gradient", batch_size=2, num_repeats=3),
        BenchmarkCase("lpd_l", "train", batch_size=2, num_repeats=3),
    ]


def clip_cases() -> list[BenchmarkCase]:
    """PAR's table of clips (arXiv 2412.15119, section 4.3), for an accelerator: in bfloat16."""

    def drawn(model: str, task: str) -> BenchmarkCase:
        return BenchmarkCase(
            model, task, "nbp_video", dtype="bfloat16", guidance_scale=1.15, num_repeats=3
        )

    return [
        *(drawn(f"par_video_xl_{n}x", task) for n in (1, 4, 16) for task in ("tokens", "images")),
        BenchmarkCase("par_video_xl_4x", "decode", "nbp_video"),
        BenchmarkCase("par_video_xl_4x", "encode", "nbp_video"),
    ]


def published_cases() -> list[BenchmarkCase]:
    """One picture's tokens by every published transformer, for an accelerator: in bfloat16."""
    return [
        BenchmarkCase(
            name,
            dtype="bfloat16",
            guidance_scale=GUIDED,
            num_repeats=1 if count_params(config) > LARGE else 3,
        )
        for name, config in published_models().items()
        if not is_tokenizer(config) and len(config.grid_size) == 2
    ]


PRESETS = {"readme": readme_cases, "clips": clip_cases, "published": published_cases}
