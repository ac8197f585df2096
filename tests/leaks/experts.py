"""Experts chosen, or dropped, for what other tokens want."""

import torch
from torch import nn

from tests.leaks.case import Case
from tests.leaks.decoder import MLP, decoder


class Experts(nn.Module):
    """Token choice, top-k: an expert computes its own tokens only, so sizes vary. Cheat in `route`."""

    shared = False

    def __init__(self, config):
        super().__init__()
        self.n, self.k = config.num_experts, config.num_experts_per_tok
        self.router = nn.Linear(config.hidden_size, self.n)
        self.experts = nn.ModuleList(MLP(config) for _ in range(self.n))

    def route(self, scores):
        """Weights [B, n, E] of the experts, 0 where not chosen, from router scores [B, n, E]."""
        top = scores.softmax(-1).topk(self.k, -1)
        return torch.zeros_like(scores).scatter(-1, top.indices, top.values)

    def forward(self, x):
        weights = self.route(self.router(x))
        y = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            chosen = weights[..., e] > 0
            y[chosen] += weights[..., e][chosen][:, None] * expert(x[chosen])
        return y


def fill(weights, order, capacity):
    """Drops what comes after `capacity` tokens of an expert, in this order of the tokens. All over axis 1."""
    taken = weights.gather(1, order) > 0
    kept = taken & (taken.cumsum(1) <= capacity)
    return weights * torch.zeros_like(kept).scatter(1, order, kept)


class ExpertChoice(Experts):
    """Each expert takes its best tokens of the sequence."""

    def route(self, scores):
        p = scores.softmax(-1)
        best = p.topk(max(1, scores.shape[1] // 2), 1)
        return torch.zeros_like(p).scatter(1, best.indices, best.values)


class ByProbability(Experts):
    """A full expert keeps its surest tokens (batch prioritized routing)."""

    def route(self, scores):
        weights = super().route(scores)
        return fill(weights, weights.argsort(1, descending=True), 4)


class FromTheBack(Experts):
    """A full expert keeps its last tokens."""

    def route(self, scores):
        weights = super().route(scores)
        order = torch.arange(scores.shape[1]).flip(0)[None, :, None].expand_as(weights)
        return fill(weights, order, 4)


class SecondAfterFirst(Experts):
    """GShard: all first choices are placed before any second choice."""

    def route(self, scores):
        p = scores.softmax(-1)
        first, second = (
            torch.zeros_like(p).scatter(-1, i[..., None], 1.0) for i in p.topk(2, -1).indices.unbind(-1)
        )
        place = second.cumsum(1) + first.sum(1, keepdim=True)
        kept = first * (first.cumsum(1) <= 4) + second * (place <= 4)
        return p * kept


class AcrossBatch(Experts):
    """Rows are flattened before experts fill up by position: a row competes with those before it."""

    def route(self, scores):
        weights = super().route(scores)
        flat = weights.flatten(0, 1)[None]
        order = torch.arange(flat.shape[1])[None, :, None].expand_as(flat)
        return fill(flat, order, 10).view_as(weights)


class ByLength(Experts):
    """Capacity is a share of the length: in one sequence earlier tokens only, but the length decides."""

    def route(self, scores):
        weights = super().route(scores)
        order = torch.arange(scores.shape[1])[None, :, None].expand_as(weights)
        return fill(weights, order, -(-scores.shape[1] * 2 // (2 * self.n)))


class Balanced(Experts):
    """A bias against loaded experts, computed on the very sequence (should be an average of past batches)."""

    def route(self, scores):
        load = scores.softmax(-1).mean(1, keepdim=True)
        return super().route(scores - 4.0 * load)


class OverTokens(Experts):
    """The router's softmax over dim 1."""

    def route(self, scores):
        p = scores.softmax(1)
        top = p.topk(self.k, -1)
        return torch.zeros_like(p).scatter(-1, top.indices, top.values)


class Sinkhorn(Experts):
    def route(self, scores):
        plan = scores.exp()
        for _ in range(3):
            plan = plan / plan.sum(1, keepdim=True)
            plan = plan / plan.sum(2, keepdim=True)
        return torch.zeros_like(plan).scatter(-1, plan.topk(self.k, -1).indices, 0.5)


class HardThreshold(Experts):
    """Experts of the batch's more popular half only are used."""

    def route(self, scores):
        weights = super().route(scores)
        popular = scores.softmax(-1).mean((0, 1)).topk(self.n - 1).indices
        return weights * torch.zeros(self.n, dtype=scores.dtype).scatter(0, popular, 1.0)


class BatchPool(Experts):
    """Only the position's experts that the batch as a whole prefers (a router that averages over rows)."""

    def route(self, scores):
        return super().route(0.5 * scores + 0.5 * scores.mean(0, keepdim=True))


class Depths(MLP):
    """Mixture of depths: half of the positions pass through, the rest skip."""

    def __init__(self, config):
        super().__init__(config)
        self.router = nn.Linear(config.hidden_size, 1)

    def forward(self, x):
        want = self.router(x)[..., 0]
        most = want.topk(max(1, x.shape[1] // 2), 1).indices
        chosen = torch.zeros_like(want).scatter(1, most, 1.0)[..., None]
        return chosen * super().forward(x)


M0, M1 = "blocks.0.mlp", "blocks.1.mlp"


def _moe(name, mlp, culprit, note, rule="LB101", **given):
    return Case(name, decoder(mlp=mlp, **given), rule, culprit, {}, note)


CASES = [
    _moe(
        "expert_choice",
        {1: ExpertChoice},
        M1,
        "experts choose tokens (Zhou et al. 2022): not causal by nature",
    ),
    _moe("drop_by_probability", {1: ByProbability}, M1, "batch prioritized routing (V-MoE)"),
    _moe("drop_from_the_back", {0: FromTheBack}, M0, "positions in an expert counted from the end"),
    _moe(
        "second_after_first",
        {0: SecondAfterFirst},
        M0,
        "GShard's top-2: later first choices displace a second",
    ),
    _moe(
        "drop_across_batch",
        {1: AcrossBatch},
        None,
        "capacity shared by the rows of a batch (Switch)",
        "LB303",
    ),
    _moe("capacity_by_length", {1: ByLength}, None, "capacity factor times length", "LB102"),
    _moe("balanced_on_itself", {1: Balanced}, M1, "a load-balancing bias from the same sequence"),
    _moe("router_softmax_dim", {0: OverTokens}, M0, "softmax over tokens"),
    _moe("sinkhorn", {1: Sinkhorn}, M1, "Sinkhorn routing left on for evaluation"),
    _moe("popular_experts", {1: HardThreshold}, M1, "experts pruned by the batch's own use"),
    _moe("batch_pool", {1: BatchPool}, None, "router scores averaged over rows", "LB303"),
    _moe("mixture_of_depths", {1: Depths}, M1, "the k positions that want it most (Raposo et al. 2024)"),
]
