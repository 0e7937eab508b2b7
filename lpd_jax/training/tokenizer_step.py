"""One step of a tokenizer: its own update, and in the same program its discriminator's.

As LlamaGen trains (arXiv 2406.06525, the released code): both look at the pictures that the
tokenizer rebuilt before its update, and the discriminator counts from `start_step` on. Batch
normalisation sees real and rebuilt pictures in two calls, in this order. A batch that is cut into
parts gives the mean of their gradients and statistics, and one update of each optimizer.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lpd_jax.images import to_model_range
from lpd_jax.models.adversarial_loss import (
    AdversarialConfig,
    LecamState,
    adaptive_weight,
    adversarial_weight,
    discriminator_loss,
    generator_loss,
    init_lecam,
    lecam_penalty,
    r1_penalty,
    update_lecam,
)
from lpd_jax.models.discriminator import (
    DiscriminatorConfig,
    PatchDiscriminator,
    init_discriminator,
)
from lpd_jax.models.tokenizer_family import TokenizerFamily
from lpd_jax.models.tokenizer_loss import LossParts, batch_codes
from lpd_jax.training.train_step import TrainState, init_state, mean_over_parts, update_average

USAGE_DECAY = 0.99  # of the running share of tokens that a code has


class Adversary(NamedTuple):
    """A discriminator while it is trained."""

    params: Any
    batch_stats: Any  # running statistics of its norms
    opt_state: Any
    lecam: LecamState | None = None


class PartResult(NamedTuple):
    """What one part of a batch says; of several parts, the mean."""

    grads: Any
    metrics: dict[str, jax.Array]
    shares_V: jax.Array
    critic_grads: Any = None
    batch_stats: Any = None
    lecam: Any = None


@dataclasses.dataclass(frozen=True)
class TokenizerRule:
    """All that a step needs to know; see `UpdateRule` for what it is.

    Attributes:
        family: of the tokenizer.
        optimizer: of the tokenizer.
        adversarial: its weight 0 trains without a discriminator.
        critic_optimizer: of the discriminator.
        dtype: what networks compute in.
        restart_below: see `TokenizerLossConfig`.
        trained_parts: top names of the parameters that learn; () is all.
    """

    family: TokenizerFamily
    optimizer: optax.GradientTransformation
    adversarial: AdversarialConfig = AdversarialConfig(weight=0.0)
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    critic_optimizer: optax.GradientTransformation | None = None
    dtype: Any = jnp.float32
    accumulate_steps: int = 1
    ema_decay: float = 0.0
    restart_below: float = 0.0
    trained_parts: tuple[str, ...] = ()

    def init(self, params: Any, key: jax.Array) -> TrainState:
        """The state before the first step."""
        state = init_state(params, self.optimizer, self.ema_decay)
        if self.critic_optimizer is not None:
            critic = init_discriminator(self.discriminator, key)
            opt_state = self.critic_optimizer.init(critic["params"])
            lecam = init_lecam() if self.adversarial.lecam_weight else None
            state = state._replace(adversary=Adversary(**critic, opt_state=opt_state, lecam=lecam))
        if self.restart_below:
            size = self.family.config.codebook_size
            state = state._replace(code_usage=jnp.full(size, 1.0 / size, jnp.float32))
        return state

    def step(
        self, parts: LossParts, state: TrainState, batch: Any, key: jax.Array
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """One update of all there is; random numbers derive from (key, step)."""
        step_key = jax.random.fold_in(key, state.step)

        def judge(params: Any, part: Any, key: jax.Array) -> PartResult:
            del key  # nothing is drawn in the passes
            return self.judge(parts, state._replace(params=params), part)

        if self.accumulate_steps == 1:
            result = judge(state.params, batch, step_key)
        else:
            result = mean_over_parts(judge, state.params, batch, step_key, self.accumulate_steps)
        grads = self.kept(result.grads)
        updates, opt_state = self.optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, self.kept(updates))
        metrics = {"grad_norm": optax.tree.norm(grads), **result.metrics}
        metrics |= batch_codes(result.shares_V)
        usage_V = state.code_usage
        if usage_V is not None:
            usage_V = USAGE_DECAY * usage_V + (1 - USAGE_DECAY) * result.shares_V
            metrics["restarted_codes"] = (usage_V < self.restart_below / len(usage_V)).sum()
            params, usage_V = self.family.restart_codes(
                params, usage_V, self.restart_below, step_key
            )
        ema_params = state.ema_params
        if ema_params is not None:
            ema_params = update_average(ema_params, params, state.step, self.ema_decay)
        adversary = state.adversary
        if adversary is not None:
            adversary = self.update_adversary(state, result)
            metrics["discriminator_grad_norm"] = optax.tree.norm(result.critic_grads)
        new = TrainState(state.step + 1, params, opt_state, ema_params, adversary, usage_V)
        return new, metrics

    def kept(self, tree: Any) -> Any:
        """Gradients or updates, of parts that do not learn 0: the compiler leaves them out."""
        if not self.trained_parts:
            return tree
        return {
            name: part if name in self.trained_parts else jax.tree.map(jnp.zeros_like, part)
            for name, part in tree.items()
        }

    def judge(self, parts: LossParts, state: TrainState, batch: Any) -> PartResult:
        """Gradients of the tokenizer and of its discriminator, from one pass through the former."""
        images_BHWC = to_model_range(batch["images"])

        def rebuild(params: Any) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            rebuilt = parts.rebuild(params, images_BHWC)
            return (rebuilt.images_BHWC, rebuilt.code_loss), rebuilt.shares_V

        (rebuilt_BHWC, code_loss), pull_back, shares_V = jax.vjp(
            rebuild, state.params, has_aux=True
        )
        compare = jax.value_and_grad(lambda x: parts.compare(x, images_BHWC), has_aux=True)
        (loss, metrics), pixel_grads_BHWC = compare(rebuilt_BHWC)
        metrics = {"loss": loss + code_loss, **metrics}
        critic: dict[str, Any] = {}
        if state.adversary is not None:
            active = adversarial_weight(self.adversarial, state.step + 1) > 0

            def asked() -> tuple[jax.Array, dict[str, Any], dict[str, jax.Array]]:
                return self.ask_critic(parts, state, images_BHWC, rebuilt_BHWC)

            def not_asked() -> tuple[jax.Array, dict[str, Any], dict[str, jax.Array]]:
                grads_BHWC, critic, judged = jax.tree.map(jnp.zeros_like, jax.eval_shape(asked))
                kept = {name: getattr(state.adversary, name) for name in ("batch_stats", "lecam")}
                return grads_BHWC, critic | kept, judged

            # Before the first step that counts it would be half of the work, for nothing.
            critic_grads_BHWC, critic, judged = jax.lax.cond(active, asked, not_asked)
            pixel_grads_BHWC += critic_grads_BHWC
            metrics |= judged
            metrics["loss"] += judged["adversarial"]
        (grads,) = pull_back((pixel_grads_BHWC, jnp.ones_like(code_loss)))
        return PartResult(grads, metrics, shares_V, **critic)

    def ask_critic(
        self, parts: LossParts, state: TrainState, images_BHWC: jax.Array, rebuilt_BHWC: jax.Array
    ) -> tuple[jax.Array, dict[str, Any], dict[str, jax.Array]]:
        """What the discriminator wants of rebuilt pictures, and its own gradients.

        Returns:
            Gradients of the rebuilt pictures `[B, H, W, 3]`, already weighted; the discriminator's
            fields of `PartResult`; metrics.
        """
        config, adversary = self.adversarial, state.adversary
        network = PatchDiscriminator(self.discriminator, self.dtype)

        def look(params: Any, batch_stats: Any, x_BHWC: jax.Array) -> tuple[jax.Array, Any]:
            variables = {"params": params, "batch_stats": batch_stats}
            logits, updated = network.apply(variables, x_BHWC, True, mutable=["batch_stats"])
            return logits, updated.get("batch_stats", batch_stats)

        def fool(x_BHWC: jax.Array) -> jax.Array:
            logits, _ = look(adversary.params, adversary.batch_stats, x_BHWC)
            return generator_loss(config.fooling_loss, logits)

        fooled, grads_BHWC = jax.value_and_grad(fool)(rebuilt_BHWC)
        weight = jnp.asarray(config.weight)
        if config.adaptive:
            weight *= self.adaptive(parts, state, images_BHWC, fool)

        def critic_loss(params: Any) -> tuple[jax.Array, Any]:
            real, stats = look(params, adversary.batch_stats, images_BHWC)
            drawn, stats = look(params, stats, rebuilt_BHWC)
            loss = discriminator_loss(config.loss, real, drawn)
            lecam = adversary.lecam
            if lecam is not None:
                lecam = update_lecam(lecam, real, drawn, config.lecam_decay)
                loss += config.lecam_weight * lecam_penalty(lecam, real, drawn)
            if config.r1_weight:
                discriminate = lambda x: look(params, adversary.batch_stats, x)[0]  # noqa: E731
                loss += config.r1_weight * r1_penalty(discriminate, images_BHWC)
            judged = {"logits_real": real.mean(), "logits_rebuilt": drawn.mean()}
            return config.weight * loss, (stats, lecam, judged)

        (loss, (stats, lecam, judged)), critic_grads = jax.value_and_grad(
            critic_loss, has_aux=True
        )(adversary.params)
        metrics = {"adversarial": weight * fooled, "adversarial_weight": weight}
        metrics |= {"discriminator_loss": loss, **judged}
        critic = {"critic_grads": critic_grads, "batch_stats": stats, "lecam": lecam}
        return weight * grads_BHWC, critic, metrics

    def adaptive(
        self, parts: LossParts, state: TrainState, images_BHWC: jax.Array, fool: Any
    ) -> jax.Array:
        """How much stronger pixels pull at the last layer than the discriminator does."""

        def to_images(kernel: jax.Array) -> jax.Array:
            params = replace_leaf(state.params, parts.last_layer, kernel)
            return parts.rebuild(params, images_BHWC).images_BHWC

        kernel = state.params
        for name in parts.last_layer:
            kernel = kernel[name]
        return adaptive_weight(
            to_images, kernel, lambda x_BHWC: parts.compare(x_BHWC, images_BHWC)[0], fool
        )

    def update_adversary(self, state: TrainState, result: PartResult) -> Adversary:
        """The discriminator after its step; before the first that counts nothing of it moves."""
        old = state.adversary
        assert self.critic_optimizer is not None
        updates, opt_state = self.critic_optimizer.update(
            result.critic_grads, old.opt_state, old.params
        )
        active = adversarial_weight(self.adversarial, state.step + 1) > 0
        params = jax.tree.map(
            lambda old, new: jnp.where(active, new, old),
            old.params,
            optax.apply_updates(old.params, updates),
        )
        return Adversary(params, result.batch_stats, opt_state, result.lecam)


def replace_leaf(tree: Any, keys: tuple[str, ...], leaf: Any) -> Any:
    """A tree of dictionaries with another leaf at the end of a path."""
    first, *rest = keys
    return {**tree, first: replace_leaf(tree[first], tuple(rest), leaf) if rest else leaf}
