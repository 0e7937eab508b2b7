"""The model families and the tokenizers, and how pictures are drawn from them.

A published model is found by its name (`find_model`). A family answers every question that depends
on the method; a new one is a class marked with `register`.
"""

from lpd_jax.models.adversarial_loss import AdversarialConfig
from lpd_jax.models.arpg import ARPG
from lpd_jax.models.arpg_sizes import ARPGConfig
from lpd_jax.models.discriminator import (
    DiscriminatorConfig,
    PatchDiscriminator,
    init_discriminator,
)
from lpd_jax.models.efficientnet_lite import EfficientNetLite0
from lpd_jax.models.family import (
    Family,
    TokenizerFamily,
    config_from_dict,
    config_to_dict,
    families,
    family_of,
    find_family,
    find_model,
    published_models,
    register,
)
from lpd_jax.models.lpd import LPD, LPDConfig
from lpd_jax.models.par import PAR
from lpd_jax.models.par_layout import PARConfig
from lpd_jax.models.parameters import count_params, init_params
from lpd_jax.models.randar import RandAR, RandARConfig
from lpd_jax.models.settings import Generation
from lpd_jax.models.transformer_family import TransformerConfig
from lpd_jax.models.video_tokenizer import VideoConfig, VideoTokenizer
from lpd_jax.models.vq_tokenizer import VQConfig, VQTokenizer

__all__ = [
    "ARPG",
    "LPD",
    "PAR",
    "ARPGConfig",
    "AdversarialConfig",
    "DiscriminatorConfig",
    "EfficientNetLite0",
    "Family",
    "Generation",
    "LPDConfig",
    "PARConfig",
    "PatchDiscriminator",
    "RandAR",
    "RandARConfig",
    "TokenizerFamily",
    "TransformerConfig",
    "VQConfig",
    "VQTokenizer",
    "VideoConfig",
    "VideoTokenizer",
    "config_from_dict",
    "config_to_dict",
    "count_params",
    "families",
    "family_of",
    "find_family",
    "find_model",
    "init_discriminator",
    "init_params",
    "published_models",
    "register",
]
