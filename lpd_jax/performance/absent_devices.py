"""The environment in which programs are compiled for devices that are not there, and never run."""

# To be set before JAX is imported.
ENVIRONMENT = {
    # No TPU is looked for, libtpu asks no metadata server, and other processes may use it.
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    # Nor are they kept: programs for such devices cannot be read again.
    "JAX_ENABLE_COMPILATION_CACHE": "false",
}
