"""FLOPs of what a function was traced to: its matrix products and convolutions, loops included."""

import math
from typing import Any

from jax.extend import core


def traced_flops(jaxpr: Any) -> float:
    """Of `jax.jit(f).trace(...).jaxpr`, all devices together; twice the multiplications.

    Of a condition the dearest branch counts; of what devices do in ways of their own, the way of
    all others; of a loop of unknown length, one turn.
    """
    total = 0.0
    by_platform = set()
    for equation in jaxpr.eqns if hasattr(jaxpr, "eqns") else jaxpr.jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        result: Any = equation.outvars[0].aval if equation.outvars else None
        if name == "dot_general":
            (contracted, _), _ = parameters["dimension_numbers"]
            sizes = equation.invars[0].aval.shape
            total += 2.0 * math.prod(result.shape) * math.prod(sizes[axis] for axis in contracted)
        elif name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            outputs = kernel[parameters["dimension_numbers"].rhs_spec[0]]
            # An input that is spread out by zeros, as in backward passes, is mostly zeros.
            zeros = math.prod(parameters["lhs_dilation"])
            total += 2.0 * math.prod(result.shape) * math.prod(kernel) / outputs / zeros
        elif name == "platform_index" and parameters["platforms"][-1] is None:
            by_platform.add(equation.outvars[0])
        elif name == "cond":
            branches = parameters["branches"]
            ours = branches[-1:] if equation.invars[0] in by_platform else branches
            total += max(map(traced_flops, ours))
        else:
            times = parameters.get("length", 1) if name == "scan" else 1
            total += times * sum(map(traced_flops, inner_jaxprs(parameters)))
    return total


def inner_jaxprs(parameters: dict[str, Any]) -> list[Any]:
    found = []
    for value in parameters.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, core.ClosedJaxpr | core.Jaxpr):
                found.append(one)
    return found
