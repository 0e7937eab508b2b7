"""How much of a device's arithmetic a training step uses (model FLOPs utilisation)."""

from lpd_jax.models.lpd import LPDConfig
from lpd_jax.models.registry import ModelConfig

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

    What the model needs: matrix products of 2N rows and N logits, attention scores that some row
    may look at. What rematerialisation computes again does not count.
    """
    if not isinstance(model, LPDConfig):
        return None
    N, D = model.num_tokens, model.embed_dim
    blocks = 2 * (4 + 2 * model.mlp_ratio) * D * D * 2 * N
    # N context rows see N, N queries see N rows of context and the N queries; twice, for values.
    attention = 2 * 2 * D * (N * N + N * 2 * N)
    head = 2 * N * D * model.codebook_size
    forward = model.num_layers * (blocks + attention) + head
    return 3.0 * forward
