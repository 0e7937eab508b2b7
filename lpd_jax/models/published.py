"""How the authors draw with the models that they published: what goes into a model directory."""

import math
from typing import Any

from lpd_jax.models.family import TransformerConfig
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.models.par_layout import PARConfig

# Tokens and width -> decoding steps, guidance scale, repulsion threshold (2507.01957).
LPD_SETTINGS = {
    (256, 1024): (20, 4.8, 2),
    (256, 1280): (20, 4.9, 2),
    (256, 1536): (20, 5.9, 3),
    (1024, 1024): (48, 7.3, 4),
    (1024, 1280): (48, 6.0, 4),
}
# Tokens, tokens at a time, width -> guidance scale: LlamaGen (2406.06525), PAR (2412.15119).
PAR_SCALES = {
    (256, 1, 768): 2.0,
    (256, 1, 1024): 2.0,
    (576, 1, 768): 2.0,
    (576, 1, 1024): 2.0,
    (576, 1, 1280): 1.75,
    (576, 1, 1536): 1.75,
    (576, 1, 3200): 1.65,
    (576, 4, 1024): 1.6,
    (576, 4, 1280): 1.5,
    (576, 4, 1536): 1.435,
    (576, 4, 3200): 1.345,
    (576, 16, 3200): 1.5,
}
JUDGED_AT = {576: 256}  # tokens -> pixels: drawn at 384, resized for every published figure
WHOLE_DISTRIBUTION = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}


def published_generation(config: TransformerConfig) -> dict[str, Any]:
    """How the authors draw with a model of these sizes; unguided where they say nothing."""
    return _par_generation(config) if isinstance(config, PARConfig) else _lpd_generation(config)


def _lpd_generation(config: LPDConfig) -> dict[str, Any]:
    sizes = math.prod(config.grid_size), config.embed_dim
    num_steps, guidance_scale, repulsion = LPD_SETTINGS.get(sizes, (None, 1.0, None))
    return {
        "order": "locality",
        "num_steps": num_steps,
        "guidance_scale": guidance_scale,
        "guidance_schedule": "linear",
        **WHOLE_DISTRIBUTION,
        "proximity_threshold": 1.0,
        "repulsion_threshold": repulsion,
    }


def _par_generation(config: PARConfig) -> dict[str, Any]:
    sizes = config.num_tokens, config.num_parallel, config.embed_dim
    return {
        "order": config.order_kind,
        "num_steps": None,  # as many as its groups
        "guidance_scale": PAR_SCALES.get(sizes, 1.0),
        "guidance_schedule": "constant",
        **WHOLE_DISTRIBUTION,
        "output_size": JUDGED_AT.get(config.num_tokens),
    }
