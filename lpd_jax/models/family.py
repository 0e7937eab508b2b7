"""From a name or a config to a model: configs as mappings, and parameters made from them."""

import difflib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lpd_jax.models.lpd import LPD, LPD_MODELS, LPDConfig
from lpd_jax.models.par import PAR
from lpd_jax.models.par_layout import PAR_MODELS, PARConfig
from lpd_jax.models.vq_tokenizer import VQ_MODELS, VQConfig, VQTokenizer
from lpd_jax.runtime.config_fields import from_mapping, to_mapping
from lpd_jax.runtime.errors import UserError

TransformerConfig = LPDConfig | PARConfig
ModelConfig = TransformerConfig | VQConfig

FAMILIES: dict[str, type] = {"lpd": LPDConfig, "par": PARConfig, "vq": VQConfig}
MODELS: dict[str, ModelConfig] = {**LPD_MODELS, **PAR_MODELS, **VQ_MODELS}


def find_model(name: str) -> ModelConfig:
    """The config of a published model; raises ValueError with the nearest name."""
    if name not in MODELS:
        close = difflib.get_close_matches(name, MODELS, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise UserError(f"model: got {name!r}{hint}, allowed are {', '.join(MODELS)}")
    return MODELS[name]


def config_from_dict(mapping: Mapping[str, Any], path: str = "model") -> ModelConfig:
    """Builds a config from a mapping whose `family` says which; rejects unknown fields."""
    family = mapping.get("family")
    if family not in FAMILIES:
        raise UserError(f"{path}.family: got {family!r}, allowed are {', '.join(FAMILIES)}")
    rest = {name: value for name, value in mapping.items() if name != "family"}
    return from_mapping(FAMILIES[family], rest, path)


def config_to_dict(config: ModelConfig) -> dict[str, Any]:
    """The mapping that `config_from_dict` reads back."""
    family = next(name for name, cls in FAMILIES.items() if isinstance(config, cls))
    return {"family": family, **to_mapping(config)}


def init_boxed(config: ModelConfig, key: jax.Array) -> Any:
    """Fresh parameters, each boxed with its logical axis names."""
    if isinstance(config, VQConfig):
        side = config.downsample_factor
        images_BHWC = jnp.zeros((1, side, side, config.image_channels))
        return VQTokenizer(config).init(key, images_BHWC)["params"]
    transformer = PAR(config) if isinstance(config, PARConfig) else LPD(config)
    return transformer.init(key, *transformer.example_inputs())["params"]


def init_params(config: ModelConfig, key: jax.Array) -> Any:
    """Fresh parameters as nested dictionaries of float32 arrays."""
    return nn.unbox(jax.jit(init_boxed, static_argnums=0)(config, key))


def abstract_params(config: ModelConfig) -> Any:
    """Shapes of the parameters, as `jax.ShapeDtypeStruct`, without making them."""

    def init_unboxed(key: jax.Array) -> Any:
        return nn.unbox(init_boxed(config, key))

    return jax.eval_shape(init_unboxed, jax.random.key(0))


def count_params(config: ModelConfig) -> int:
    """Number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(abstract_params(config)))
