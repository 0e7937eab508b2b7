"""What stops a run: numbers that none recovers from."""

import numpy as np


def check_health(step: int, metrics: dict[str, float], stop_grad_norm: float) -> None:
    """Raises FloatingPointError naming a step with a loss or gradient that no run survives.

    Args:
        step: the step.
        metrics: `loss` and `grad_norm` among them, and the discriminator's where there is one.
        stop_grad_norm: a gradient longer than this counts as an explosion; 0 is no limit.
    """
    for name in ("loss", "grad_norm", "discriminator_grad_norm"):
        if name in metrics and not np.isfinite(metrics[name]):
            raise FloatingPointError(f"step {step}: {name} is {metrics[name]}; training stops")
    if 0 < stop_grad_norm < metrics["grad_norm"]:
        raise FloatingPointError(
            f"step {step}: grad_norm is {metrics['grad_norm']:.4g}, above optimizer.stop_grad_norm "
            f"{stop_grad_norm:g}; training stops"
        )
