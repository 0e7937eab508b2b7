"""How much of a device's arithmetic a training step uses (model FLOPs utilisation)."""

from lpd_jax.models.family import ModelConfig
from lpd_jax.models.par_layout import PARConfig
from lpd_jax.models.vq_tokenizer import VQConfig

# Dense bfloat16 FLOP/s of one JAX device, from the makers' data sheets, by `device_kind`.
PEAK_FLOPS = {
    "TPU v3": 61.5e12,  # a core: two to a chip
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "TPU7x": 1153.5e12,  # a core: two to a chip
    "NVIDIA A100": 312e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA B200": 2250e12,
    "NVIDIA L4": 121e12,
    "NVIDIA L40S": 362e12,
    "Tesla V100": 125e12,
}


def peak_flops(device_kind: str) -> float | None:
    """Peak of a device, None for an unknown kind; the longest name that begins it decides."""
    names = [name for name in PEAK_FLOPS if device_kind.startswith(name)]
    return PEAK_FLOPS[max(names, key=len)] if names else None


def training_flops(model: ModelConfig) -> float | None:
    """FLOPs of one image's forward and backward pass; None where nobody has counted.

    What the model needs: matrix products of LPD's 2N rows or PAR's N, N logits, attention scores
    that some row may look at. What rematerialisation computes again does not count.
    """
    if isinstance(model, VQConfig):
        return None
    N, D = model.num_tokens, model.embed_dim
    if isinstance(model, PARConfig):
        blocks = 2 * (4 * D + 3 * model.mlp_dim) * D * N
        attention = 2 * 2 * D * N * N  # twice, for values
    else:
        blocks = 2 * (4 + 2 * model.mlp_ratio) * D * D * 2 * N
        # N context rows see N, N queries see N rows of context and the N queries.
        attention = 2 * 2 * D * (N * N + N * 2 * N)
    head = 2 * N * D * model.codebook_size
    forward = model.num_layers * (blocks + attention) + head
    return 3.0 * forward
