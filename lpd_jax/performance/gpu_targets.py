"""NVIDIA cards that are not there, described to XLA's compiler.

Needs the packages `jax-cuda13-plugin` and `jax-cuda13-pjrt` of JAX's version, and
`nvidia-cuda-nvcc`, but no GPU and no driver. Autotuning would need a card: without one, the
compiler takes what it is told to for every matrix product.
"""

from typing import Any

from lpd_jax.runtime.errors import UserError, shown

# What becomes of matrix products. A card measures which is faster, product by product: the truth
# is between the two.
PRODUCTS: dict[str, dict[str, Any]] = {
    "Triton": {"xla_gpu_enable_triton_gemm": True},
    "cuBLASLt": {"xla_gpu_enable_triton_gemm": False},
}
VERSIONS = (
    'driver_version: "13.0.0" runtime_version: "13.0.0" compile_time_toolkit_version: "13.0.0" '
    'dnn_version: "9.10.0"'
)
# Of every card since Volta.
COMMON = (
    "threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 "
    "threads_per_core_limit: 2048 block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 "
    "block_dim_limit_z: 65535 registers_per_core_limit: 65536 registers_per_block_limit: 65536 "
    "thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64"
)
# As the driver tells them where there is one.
CARDS = {
    "h100": (
        "NVIDIA H100 80GB HBM3",
        "shared_memory_per_core: 233472 core_count: 132 fpus_per_core: 128 "
        "memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98 "
        "device_memory_size: 84942979072 shared_memory_per_block_optin: 232448 "
        "cuda_compute_capability { major: 9 feature_extension: ACCELERATED_FEATURES }",
    ),
    "a100": (
        "NVIDIA A100-SXM4-80GB",
        "shared_memory_per_core: 167936 core_count: 108 fpus_per_core: 64 "
        "memory_bandwidth: 2039040000000 l2_cache_size: 41943040 clock_rate_ghz: 1.41 "
        "device_memory_size: 85100068864 shared_memory_per_block_optin: 166912 "
        "cuda_compute_capability { major: 8 }",
    ),
}


def gpu_devices(card: str, count: int) -> Any:
    """The topology of one machine with `count` cards, for ahead-of-time compilation.

    Raises:
        UserError: the plugin is not installed.
    """
    from jax.experimental import topologies

    title, sizes = CARDS[card]
    target = (
        f"gpu_device_info {{ {COMMON} {VERSIONS} {sizes} }} "
        'platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 } '
        f'device_description_str: "{title}"'
    )
    try:
        return topologies.get_topology_desc(
            platform="cuda",
            topology_name=card,
            target_config=target,
            topology=f"1x1x{count}",  # slices, hosts, devices
        )
    except RuntimeError as error:
        raise UserError(
            f"topology: got {shown(card)}, but {error}; it needs the packages jax-cuda13-plugin "
            "and jax-cuda13-pjrt, of JAX's version, and nvidia-cuda-nvcc"
        ) from error
