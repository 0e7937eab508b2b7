"""A matrix of a transformer, whose weights lie by input, `[in, out]`, or by output, `[out, in]`.

By input is how models are trained and saved. By output is faster on some CPUs; for which, and which
matrices, `weight_layout` says.
"""

from typing import Any

import flax.linen as nn
import jax
from flax.linen.dtypes import promote_dtype

from lpd_jax.models.products import product_by_output

BY_OUTPUT = "kernel_by_output"  # the name of weights that lie so, in place of "kernel"


class Dense(nn.Dense):
    """`nn.Dense`, which also takes weights by output."""

    def __call__(self, inputs: jax.Array) -> jax.Array:
        if not self.has_variable("params", BY_OUTPUT):
            return super().__call__(inputs)
        weights_FD: Any = self.get_variable("params", BY_OUTPUT)
        bias_F = self.get_variable("params", "bias") if self.use_bias else None
        inputs, weights_FD, bias_F = promote_dtype(inputs, weights_FD, bias_F, dtype=self.dtype)
        outputs = product_by_output(inputs, weights_FD)
        if bias_F is None:
            return outputs
        return outputs + bias_F.reshape((1,) * (outputs.ndim - 1) + (-1,))
