"""How much of a device's arithmetic a training step uses (model FLOPs utilisation)."""

from typing import Any

from lpd_jax.models.family import is_tokenizer, transformer_of

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


def training_flops(model: Any) -> float | None:
    """FLOPs of one image's forward and backward pass; None where nobody has counted.

    What rematerialisation computes again does not count.
    """
    if is_tokenizer(model):
        return None
    forward = transformer_of(model).forward_flops()
    return None if forward is None else 3.0 * forward
