"""LPD in plain, eager PyTorch: what `lpd_jax.models.lpd` is timed against.

Modules are named as the official weights are. Dimension key: B images, R rows of the batch (pairs
under guidance), N tokens of an image, P rows of the previous group, Q query rows, T rows of one
pass, H heads, M cache slots, K head width, D width, V codebook.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody calls it
from torch import Tensor, nn

from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.models.lpd import LPDConfig

NORM_EPSILON = 1e-6


class Block(nn.Module):
    """Attention and MLP, each behind a LayerNorm, each added to its input."""

    def __init__(self, config: LPDConfig):
        super().__init__()
        D, F_ = config.embed_dim, config.embed_dim * config.mlp_ratio
        self.num_heads, self.dropout_rate = config.num_heads, config.dropout_rate
        self.norm1 = nn.LayerNorm(D, eps=NORM_EPSILON)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(D, 3 * D), "proj": nn.Linear(D, D)})
        self.norm2 = nn.LayerNorm(D, eps=NORM_EPSILON)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(D, F_), "fc2": nn.Linear(F_, D)})

    def decode(
        self, x_RTD: Tensor, cache_2RHMK: Tensor, start: int, end: int, mask_TM: Tensor
    ) -> Tensor:
        """One cached pass, whose rows go to the slots from `start` to before `end`."""
        q_RHTK, k_RHTK, v_RHTK = self.split_heads(x_RTD)
        cache_2RHMK[0, :, :, start:end] = k_RHTK
        cache_2RHMK[1, :, :, start:end] = v_RHTK
        k_RHMK, v_RHMK = cache_2RHMK[:, :, :, :end]
        return self.finish(x_RTD, F.scaled_dot_product_attention(q_RHTK, k_RHMK, v_RHMK, mask_TM))

    def forward(self, x_BTD: Tensor, context_mask: Tensor, query_mask: Tensor) -> Tensor:
        """The teacher-forced pass: context rows see no queries, so a quarter is skipped."""
        C = len(context_mask)
        q, k, v = self.split_heads(x_BTD)
        context_BHCK = F.scaled_dot_product_attention(
            q[:, :, :C], k[:, :, :C], v[:, :, :C], context_mask
        )
        queries_BHNK = F.scaled_dot_product_attention(q[:, :, C:], k, v, query_mask)
        return self.finish(x_BTD, torch.cat([context_BHCK, queries_BHNK], dim=2))

    def split_heads(self, x_RTD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        R, T, _ = x_RTD.shape
        qkv_RT3HK = self.attn["qkv"](self.norm1(x_RTD)).view(R, T, 3, self.num_heads, -1)
        return qkv_RT3HK.permute(2, 0, 3, 1, 4).unbind()

    def finish(self, x_RTD: Tensor, attended_RHTK: Tensor) -> Tensor:
        h_RTD = self.attn["proj"](attended_RHTK.transpose(1, 2).reshape(x_RTD.shape))
        x_RTD = x_RTD + self.drop(h_RTD)
        h_RTF = self.drop(F.gelu(self.mlp["fc1"](self.norm2(x_RTD))))
        return x_RTD + self.drop(self.mlp["fc2"](h_RTF))

    def drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout_rate, self.training)


class LPD(nn.Module):
    """The transformer: `generate` draws, calling it gives the training loss."""

    def __init__(self, config: LPDConfig):
        super().__init__()
        self.config, D = config, config.embed_dim
        self.class_emb = nn.Embedding(config.num_classes, D)
        self.fake_latent = nn.Parameter(torch.empty(1, D))
        self.token_emb = nn.Embedding(config.codebook_size, D)
        self.mask_token = nn.Parameter(torch.empty(1, 1, D))
        self.pos_embed = nn.Parameter(torch.empty(1, config.num_tokens + 1, D))
        self.z_proj_ln = nn.LayerNorm(D, eps=NORM_EPSILON)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.num_layers)])
        self.norm = nn.LayerNorm(D, eps=NORM_EPSILON)
        self.head = nn.Linear(D, config.codebook_size, bias=False)

    @torch.inference_mode()
    def generate(
        self,
        labels_B: Tensor,
        order_BN: Tensor,
        schedule: GroupSchedule,
        guidance_scale: float = 1.0,
        guidance_schedule: str = "linear",
        greedy: bool = False,
    ) -> Tensor:
        """Draws tokens int64 `[B, N]`, in raster order, at temperature 1 or the likeliest."""
        B, N = order_BN.shape
        guided = guidance_scale != 1
        pair = 2 if guided else 1
        labels_R = labels_B
        if guided:
            labels_R = torch.cat([labels_B, torch.full_like(labels_B, self.config.null_class)])
        cache_Y2RHMK = self.make_cache(pair * B)
        previous_RPD = self.embed_class(labels_R)
        tokens_BN = torch.empty_like(order_BN)
        previous_start, query_start = 0, 1
        for size in schedule.group_sizes:
            end = query_start + size
            positions_BQ = order_BN[:, query_start - 1 : end - 1]
            queries_RQD = self.embed_queries(positions_BQ).repeat(pair, 1, 1)
            logits_RQV = self.decode(previous_RPD, queries_RQD, cache_Y2RHMK, previous_start)
            if guided:
                ranks_Q = torch.arange(query_start - 1, end - 1, device=order_BN.device)
                scale_Q1 = guidance_of_rank(guidance_scale, guidance_schedule, ranks_Q / N)
                cond_BQV, uncond_BQV = logits_RQV.chunk(2)
                logits_RQV = torch.lerp(uncond_BQV, cond_BQV, scale_Q1)
            tokens_BQ = sample(logits_RQV, greedy)
            tokens_BN[:, query_start - 1 : end - 1] = tokens_BQ
            previous_RPD = self.embed_tokens(tokens_BQ, positions_BQ).repeat(pair, 1, 1)
            previous_start, query_start = query_start, end
        return torch.empty_like(tokens_BN).scatter_(1, order_BN, tokens_BN)

    def make_cache(self, num_rows: int) -> list[Tensor]:
        """Keys and values of all layers, allocated once."""
        cfg, weight = self.config, self.head.weight
        head_dim = cfg.embed_dim // cfg.num_heads
        shape = (cfg.num_layers, 2, num_rows, cfg.num_heads, cfg.num_tokens + 1, head_dim)
        return list(torch.empty(shape, dtype=weight.dtype, device=weight.device))

    def decode(
        self,
        previous_RPD: Tensor,
        queries_RQD: Tensor,
        cache_Y2RHMK: list[Tensor],
        previous_start: int,
    ) -> Tensor:
        """Float32 logits of the queries, whose slots come after those of the previous group."""
        x_RTD = torch.cat([previous_RPD, queries_RQD], dim=1)
        P, end = previous_RPD.shape[1], previous_start + x_RTD.shape[1]
        # The previous group sees all but the queries, and these see all.
        mask_TM = x_RTD.new_zeros(x_RTD.shape[1], end)
        mask_TM[:P, previous_start + P :] = -torch.inf
        for block, cache_2RHMK in zip(self.blocks, cache_Y2RHMK, strict=True):
            x_RTD = block.decode(x_RTD, cache_2RHMK, previous_start, end, mask_TM)
        return self.head(self.norm(x_RTD[:, P:])).float()

    def forward(
        self, tokens_BN: Tensor, labels_B: Tensor, order_BN: Tensor, schedule: GroupSchedule
    ) -> Tensor:
        """Mean cross-entropy over the N queries of the teacher-forced pass."""
        ranked_BN = tokens_BN.gather(1, order_BN)
        # Nobody looks at the last group's tokens: they are no rows here.
        seen = schedule.group_starts[-1]
        context = self.embed_tokens(ranked_BN[:, :seen], order_BN[:, :seen])
        context_BCD = torch.cat([self.embed_class(labels_B), context], dim=1)
        x_BTD = torch.cat([context_BCD, self.embed_queries(order_BN)], dim=1)
        masks = teacher_forcing_masks(schedule.group_sizes, order_BN.device)
        for block in self.blocks:
            x_BTD = block(x_BTD, *masks)
        logits_BNV = self.head(self.norm(x_BTD[:, 1 + seen :]))
        return F.cross_entropy(logits_BNV.flatten(0, 1).float(), ranked_BN.flatten())

    def embed_class(self, labels_B: Tensor) -> Tensor:
        table_CD = torch.cat([self.class_emb.weight, self.fake_latent])
        return self.z_proj_ln((table_CD[labels_B] + self.pos_embed[0, 0])[:, None])

    def embed_tokens(self, tokens_BP: Tensor, positions_BP: Tensor) -> Tensor:
        return self.z_proj_ln(self.token_emb(tokens_BP) + self.pos_embed[0][positions_BP + 1])

    def embed_queries(self, positions_BQ: Tensor) -> Tensor:
        return self.z_proj_ln(self.mask_token + self.pos_embed[0][positions_BQ + 1])


def guidance_of_rank(scale: float, schedule: str, share_Q: Tensor) -> Tensor:
    """The scale of each generation rank, a share of all ranks: `[Q, 1]`."""
    if schedule == "constant":
        share_Q = torch.ones_like(share_Q)
    return (1 + (scale - 1) * share_Q)[:, None]


def sample(logits_BQV: Tensor, greedy: bool) -> Tensor:
    """The likeliest token, or one drawn at temperature 1: of exponential clocks, the first."""
    if greedy:
        return logits_BQV.argmax(-1)
    return logits_BQV.softmax(-1).div_(torch.empty_like(logits_BQV).exponential_()).argmax(-1)


def teacher_forcing_masks(
    group_sizes: Sequence[int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """What context rows see of context `[C, C]`, and what queries see of both `[N, C + N]`."""
    sizes = torch.tensor(group_sizes, device=device)
    query_group_N = torch.arange(len(sizes), device=device).repeat_interleave(sizes)
    seen = len(query_group_N) - group_sizes[-1]
    context_group_C = F.pad(query_group_N[:seen], (1, 0), value=-1)
    context_mask = context_group_C[None] <= context_group_C[:, None]
    earlier = context_group_C[None] < query_group_N[:, None]
    together = query_group_N[None] == query_group_N[:, None]
    return context_mask, torch.cat([earlier, together], dim=1)
