"""The tests; they mirror `lpd_jax/`."""
