"""What a cached pass looks like on the device it is traced for: the one place that asks.

A GPU runs some 300 kernels in a step, each at least 2 microseconds long, while its arithmetic waits
for the weights: fewer kernels are worth padded rows. A CPU starts nothing, and pays for every row.
Tokens are the same by every choice, but for rounding.
"""

from typing import NamedTuple

import jax

LEAST_CUDNN = (8, 0)  # compute capability that cuDNN's flash attention begins with
LEAST_BFLOAT16 = (8, 0)  # and matrix units for bfloat16


class DeviceChoices(NamedTuple):
    """How a schedule and its cached passes are compiled.

    flash_attention: cuDNN's kernel where the numbers and heads fit it.
    one_write: keys go to the cache in one window over the previous group and the next, values
        likewise, rather than group by group.
    size_multiple: caches, and rows that would be padded product by product, are padded to it, as
        matrix libraries ask for.
    row_multiple: rows of an image in a step are padded to it, where the family can.
    products_apart: products of the same rows stay apart. XLA for GPUs would join the small ones,
        and to that end copy their weights, one behind the other, in every step.
    unseen_bytes: a scan is cut again where its steps read so much of the cache that none of them
        looks at. Another scan takes one to a few seconds to compile.
    pixels_in_dtype: a tokenizer's decoder computes in the dtype of the transformer, as convolutions
        are fast in; else in float32.
    """

    flash_attention: bool = False
    one_write: bool = False
    size_multiple: int = 1
    row_multiple: int = 1
    products_apart: bool = False
    unseen_bytes: float = 32e9
    pixels_in_dtype: bool = True

    def padded(self, size: int) -> int:
        """As many slots or rows, or more that nobody looks at."""
        return -(-size // self.size_multiple) * self.size_multiple


class Device(NamedTuple):
    platform: str  # "cpu", "gpu" or "tpu"
    compute_capability: tuple[int, ...] = ()  # of an NVIDIA GPU


PLAIN = DeviceChoices()
# Memory of 10 to 30 GB/s reads them in a fraction of a second, an accelerator's in milliseconds.
CPU = DeviceChoices(unseen_bytes=8e9, pixels_in_dtype=False)
# Guidance doubles rows, and cuBLASLt asks for multiples of 8: others it has padded by a copy, in
# every layer and step.
NVIDIA = DeviceChoices(one_write=True, size_multiple=8, row_multiple=4, products_apart=True)


def device_choices() -> DeviceChoices:
    """Those for the device that the trace in hand is compiled for."""
    device = target_device()
    if device.platform == "cpu":
        return CPU
    if device.platform != "gpu" or not device.compute_capability:
        return PLAIN
    return NVIDIA._replace(flash_attention=device.compute_capability >= LEAST_CUDNN)


def drawing_dtype() -> str:
    """What pictures are drawn in where nobody says: bfloat16 on devices whose matrix units take it.

    Of CPUs only some have such units: they draw in float32.
    """
    platform, capability = target_device()
    is_fast = platform == "tpu" or (platform == "gpu" and capability >= LEAST_BFLOAT16)
    return "bfloat16" if is_fast else "float32"


def target_device() -> Device:
    """That of the mesh in force, which need not be here, or the one that JAX runs on by default."""
    described = jax.sharding.get_abstract_mesh().abstract_device
    if described is not None:
        is_nvidia = described.platform in ("gpu", "cuda") and "AMD" not in described.device_kind
        # Only cards that have flash attention are described: see `performance.gpu_targets`.
        return Device("gpu", LEAST_CUDNN) if is_nvidia else Device(described.platform)
    device = jax.config.jax_default_device  # type: ignore[attr-defined]
    if not isinstance(device, jax.Device):
        device = jax.devices(device)[0]
    return Device(device.platform, capability_of(device))


def capability_of(device: jax.Device) -> tuple[int, ...]:
    """Compute capability of an NVIDIA GPU; () of anything else, AMD's among them."""
    parts = str(getattr(device, "compute_capability", "")).split(".")
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else ()
