"""Parallel autoregressive image generation in JAX."""
