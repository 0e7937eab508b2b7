"""What a discriminator and the tokenizer that it judges are each to make small.

The losses take logits, the batch first; means are over all of them, so under jit over the whole
batch however it is sharded.

- "hinge" (arXiv 1705.02894): D 1/2 (mean relu(1 - real) + mean relu(1 + drawn)), G -mean drawn.
- "non_saturating" (arXiv 1406.2661): D 1/2 (mean softplus(-real) + mean softplus(drawn)), G mean
  softplus(-drawn). LlamaGen's released code passes binary cross entropy its arguments in the wrong
  order, the logits as targets, so that drawn pictures teach its discriminator nothing. This is what
  was meant; the released recipes use the hinge.
- "non_saturating_by_picture": a picture's logits, or a clip's, are averaged before the softplus and
  D's two terms added. Open-MAGVIT2's video tokenizer has it for G, and the hinge for D.

R1 and LeCAM are added to the discriminator's loss by whoever wants them. `adversarial_weight` says
how much the discriminator counts at a step, in both losses; `adaptive_weight` scales it in the
tokenizer's.

Letters: B batch; logits `[B, ...]`, one a patch.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lpd_jax.runtime.arguments import check_choice, check_number, check_whole
from lpd_jax.runtime.config_fields import later_field

LOSSES = ("hinge", "non_saturating", "non_saturating_by_picture")
SMALLEST_GRADIENT = 1e-4  # added to the norm that the adaptive weight divides by
LARGEST_STEP = 2**31 - 1  # which an int32 counts to
LARGEST_WEIGHT = 1e4


@dataclasses.dataclass(frozen=True)
class AdversarialConfig:
    """LlamaGen's recipe where nothing else is said (arXiv 2406.06525, released code).

    Attributes:
        weight: of the adversarial term in the tokenizer's loss, and, as released, of the
            discriminator's own loss; 0 trains without a discriminator.
        loss: "hinge", "non_saturating" or "non_saturating_by_picture".
        generator_loss: one of them for the tokenizer's part, where it is another; "" is the same.
        start_step: the first step at which it counts, the run's first being 1; 20,000 published,
            0 for fine-tuning.
        adaptive: scale it so that both parts of the loss pull equally at the decoder's last layer.
        r1_weight: gamma of 1/2 gamma E|grad D(real)|^2; 0 leaves it out.
        lecam_weight: 0 leaves LeCAM out; Open-MAGVIT2 has 0.05.
        lecam_decay: of the running means of logits that LeCAM compares with.
    """

    weight: float = 0.5
    loss: str = "hinge"
    start_step: int = 20_000
    adaptive: bool = False
    r1_weight: float = 0.0
    lecam_weight: float = 0.0
    lecam_decay: float = 0.999
    generator_loss: str = later_field("")

    def __post_init__(self) -> None:
        check_choice("adversarial.loss", self.loss, LOSSES)
        if self.generator_loss:
            check_choice("adversarial.generator_loss", self.generator_loss, LOSSES)
        check_whole("adversarial.start_step", self.start_step, 0, LARGEST_STEP)
        for name in ("weight", "r1_weight", "lecam_weight"):
            check_number(f"adversarial.{name}", getattr(self, name), 0, LARGEST_WEIGHT)
        check_number("adversarial.lecam_decay", self.lecam_decay, 0, 1, ends="least")

    @property
    def fooling_loss(self) -> str:
        """What the tokenizer makes small."""
        return self.generator_loss or self.loss


def discriminator_loss(loss: str, real: jax.Array, drawn: jax.Array) -> jax.Array:
    """Small where logits of real pictures are large and those of drawn ones small; a scalar."""
    if loss == "hinge":
        return 0.5 * (jax.nn.relu(1.0 - real).mean() + jax.nn.relu(1.0 + drawn).mean())
    if loss == "non_saturating":
        return 0.5 * (jax.nn.softplus(-real).mean() + jax.nn.softplus(drawn).mean())
    return jax.nn.softplus(-by_picture(real)).mean() + jax.nn.softplus(by_picture(drawn)).mean()


def generator_loss(loss: str, drawn: jax.Array) -> jax.Array:
    """Small where the discriminator takes drawn pictures for real; a scalar."""
    if loss == "hinge":
        return -drawn.mean()
    if loss == "non_saturating":
        return jax.nn.softplus(-drawn).mean()
    return jax.nn.softplus(-by_picture(drawn)).mean()


def by_picture(logits: jax.Array) -> jax.Array:
    """The mean logit of each picture, `[B]`."""
    return logits.reshape(len(logits), -1).mean(axis=1)


def adversarial_weight(config: AdversarialConfig, step: jax.Array | int) -> jax.Array:
    """`config.weight` from `start_step` on, 0 before. `step` counts from 1 and may be traced."""
    return jnp.where(jnp.asarray(step) >= config.start_step, config.weight, 0.0)


def adaptive_weight(
    to_images: Callable[[Any], jax.Array],
    last_layer: Any,
    reconstruction_loss: Callable[[jax.Array], jax.Array],
    adversarial_loss: Callable[[jax.Array], jax.Array],
) -> jax.Array:
    """How much stronger reconstruction pulls at the last layer than the discriminator does.

    |grad reconstruction| / (|grad adversarial| + 1e-4), at most 10,000 (VQGAN, arXiv 2012.09841,
    section 3.2); a constant to gradients. It costs one more pass through the two losses, none
    through the decoder but its last layer.

    Args:
        to_images: parameters of the decoder's last layer -> pictures, all else held fixed.
        last_layer: those parameters, an array or a tree of them. The released code takes the
            kernel alone.
        reconstruction_loss: pictures -> scalar, the perceptual term included.
        adversarial_loss: pictures -> scalar, `generator_loss` of the discriminator's logits.
    """
    images, pull_back = jax.vjp(to_images, last_layer)
    images = jax.lax.stop_gradient(images)
    norms = [
        gradient_norm(pull_back(jax.grad(loss)(images)))
        for loss in (reconstruction_loss, adversarial_loss)
    ]
    weight = jnp.clip(norms[0] / (norms[1] + SMALLEST_GRADIENT), 0.0, LARGEST_WEIGHT)
    return jax.lax.stop_gradient(weight)


def r1_penalty(discriminate: Callable[[jax.Array], jax.Array], real: jax.Array) -> jax.Array:
    """1/2 E|grad D(x)|^2 over real pictures (arXiv 1801.04406); multiply by gamma.

    D(x) is the mean logit of a picture, so that pictures of any size weigh the same. A batch norm
    in training mode ties the pictures of a batch together, and their gradients with them: prefer
    another norm.

    Args:
        discriminate: pictures -> logits `[B, ...]`.
    """
    gradients = jax.grad(lambda pictures: by_picture(discriminate(pictures)).sum())(real)
    squares_B = jnp.square(gradients.astype(jnp.float32)).reshape(len(real), -1).sum(axis=1)
    return 0.5 * squares_B.mean()


class LecamState(NamedTuple):
    """Running means of the discriminator's logits, scalars; part of the training state."""

    real: jax.Array
    drawn: jax.Array


def init_lecam() -> LecamState:
    """Zeros, as released."""
    return LecamState(jnp.zeros(()), jnp.zeros(()))


def update_lecam(state: LecamState, real: jax.Array, drawn: jax.Array, decay: float) -> LecamState:
    """The means moved on by one batch; no gradient passes."""
    means = (jax.lax.stop_gradient(logits.mean()) for logits in (real, drawn))
    return LecamState(
        *(decay * old + (1 - decay) * new for old, new in zip(state, means, strict=True))
    )


def lecam_penalty(state: LecamState, real: jax.Array, drawn: jax.Array) -> jax.Array:
    """LeCAM (arXiv 2104.03310): keeps logits near the running means of the other kind.

    mean relu(real - drawn mean)^2 + mean relu(real mean - drawn)^2, with the state that
    `update_lecam` made of these logits.
    """
    above = jax.nn.relu(real - state.drawn)
    below = jax.nn.relu(state.real - drawn)
    return jnp.square(above).mean() + jnp.square(below).mean()


def gradient_norm(gradients: Any) -> jax.Array:
    """Euclidean norm of all leaves together."""
    squares = [jnp.square(leaf.astype(jnp.float32)).sum() for leaf in jax.tree.leaves(gradients)]
    return jnp.sqrt(jnp.stack(squares).sum())
