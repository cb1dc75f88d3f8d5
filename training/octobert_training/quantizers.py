"""The engine's quantizers (docs/NUMERICS.md) in PyTorch, with gradients for training.

Each quantizer gives the same integers as the engine for the same floats (tests/test_quantizers.py). Gradients pass
through rounding as through the identity (Bengio et al. 2013, arXiv:1308.3432), and not through clipped values; learned
scales have those of LSQ (Esser et al. 2020, arXiv:1902.08153, equation 3 and section 2.2).
"""

import math

import torch
from torch import nn

LEVELS = 127.0
TINY = 1e-30
EXP2_LEVELS = 254.0
EXP2_POLYNOMIAL = (254.0, 176.09384155273438, 61.5215950012207, 13.972373962402344)  # kExp2Q8Poly
LOG2_E = float.fromhex("0x1.71547652b82fep+0")


class _Replace(torch.autograd.Function):
    """The value of `replacement`, the gradient of x where `passes` is true."""

    @staticmethod
    def forward(context, x, replacement, passes):
        context.save_for_backward(passes)
        return replacement

    @staticmethod
    def backward(context, gradient):
        (passes,) = context.saved_tensors
        return (gradient if passes is None else gradient * passes), None, None


def straight_through(x, replacement, passes=None):
    return _Replace.apply(x, replacement, passes)


def round_to_i8(x):
    """Nearest integer, ties to even, in [-127, 127]; NaN gives -127."""
    return torch.nan_to_num(x, nan=-LEVELS).clamp(-LEVELS, LEVELS).round()


def row_integers(x, dim=-1):
    """"Quantize a row" of NUMERICS.md along `dim`: integers (as floats), scale with that dimension kept at 1."""
    absmax = x.abs().amax(dim, keepdim=True)
    levels = torch.full_like(absmax, LEVELS)  # a tensor: division by a number may become a multiplication
    q = round_to_i8(x * (levels / absmax))
    tiny, broken = absmax < TINY, ~torch.isfinite(absmax)
    q = torch.where(tiny | broken, torch.zeros_like(q), q)
    scale = torch.where(tiny, torch.ones_like(absmax), absmax / levels)
    return q, torch.where(broken, torch.full_like(scale, math.nan), scale)


def quantize_rows(x, dim=-1):
    """x with its rows (along dim) on 255 levels, as dynamic quantization and int8 weights have them."""
    with torch.no_grad():
        q, scale = row_integers(x, dim)
        replacement = q * scale
    return straight_through(x, replacement)


def fixed_position(x, scale, zero_point):
    """fma(x, 1 / scale, zero point): where x lies on the fixed grid, before rounding. Rounded once, as the engine's."""
    inv = torch.ones_like(scale) / scale
    if not torch.any(zero_point):
        return x * inv
    # float32 times float32 is exact in float64, which leaves one rounding more than the engine's, 2^-29 of a step away.
    return (x.double() * inv.double() + zero_point.double()).float()


class _Fixed(torch.autograd.Function):
    @staticmethod
    def forward(context, x, scale, zero_point):
        position = fixed_position(x, scale, zero_point)
        q = position.clamp(-LEVELS, LEVELS).round_()  # NaN stays: training stops at it
        context.save_for_backward(position, q, scale, zero_point)
        return q * scale if not torch.any(zero_point) else (q - zero_point) * scale

    @staticmethod
    def backward(context, gradient):
        position, q, scale, zero_point = context.saved_tensors
        inside = position.abs() <= LEVELS + 0.5
        of_scale = None
        if context.needs_input_grad[1]:
            # inside: d/ds of (round(x / s)) s = q - x / s; clipped: the level itself
            step = torch.where(inside, q - position, q - zero_point) * gradient
            of_scale = step.sum_to_size(scale.shape) / math.sqrt(LEVELS * position.numel() / scale.numel())
        return gradient * inside, of_scale, None


class FixedQuantizer(nn.Module):
    """A result whose grid is fixed, as `static` has it: q = round_to_i8(fma(x, 1 / scale, zero_point)).

    shape: of the scale, so that it broadcasts against x. mode: "observed" (moving average of the range) or "lsq" (learned).
    """

    def __init__(self, shape=(1,), asymmetric=False, mode="lsq", percentile=0.9999):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(shape), requires_grad=mode == "lsq")
        self.register_buffer("zero_point", torch.zeros(1))
        self.register_buffer("low", torch.full(shape, math.inf))
        self.register_buffer("high", torch.full(shape, -math.inf))
        self.asymmetric, self.percentile = asymmetric, percentile
        self.observing = False

    @torch.no_grad()
    def observe(self, x, valid, momentum=0.95):
        """valid: which rows (x's last but one dimension and those before it) hold tokens, or None for all."""
        low, high = self._range(x, valid)
        first = not torch.isfinite(self.low).all()
        self.low.copy_(low if first else momentum * self.low + (1 - momentum) * low)
        self.high.copy_(high if first else momentum * self.high + (1 - momentum) * high)
        if self.asymmetric:
            low, high = self.low.clamp(max=0), self.high.clamp(min=0)
            self.scale.copy_(((high - low) / (2 * LEVELS)).clamp(min=1e-8))
            self.zero_point.copy_((-LEVELS - low / self.scale).round().clamp(-LEVELS, LEVELS).reshape(1))
        else:
            self.scale.copy_((torch.maximum(-self.low, self.high) / LEVELS).clamp(min=1e-8))

    def _range(self, x, valid):
        if valid is not None:
            x = torch.where(valid, x, torch.zeros_like(x))
        if self.scale.numel() > 1:
            dims = [d for d in range(x.dim()) if d < x.dim() - self.scale.dim() or self.scale.shape[d - x.dim()] == 1]
            return x.amin(dims, keepdim=True).reshape(self.scale.shape), x.amax(dims, keepdim=True).reshape(
                self.scale.shape)
        flat = x.reshape(-1)
        ends = max(1, round(flat.numel() * (1 - self.percentile)))  # that many values may lie outside on either side
        low, high = flat.topk(ends, largest=False).values[-1], flat.topk(ends).values[-1]
        return low.reshape(1), high.reshape(1)

    def integers(self, x):
        return round_to_i8(fixed_position(x, self.scale, self.zero_point))

    def forward(self, x, valid=None):
        if self.observing:
            self.observe(x.detach(), valid)
        return _Fixed.apply(x, self.scale, self.zero_point)


class DynamicQuantizer(nn.Module):
    """Per token, at run time."""

    def __init__(self, dim=-1):
        super().__init__()
        self.dim = dim

    def forward(self, x, valid=None):
        if valid is not None:
            x = x * valid
        return quantize_rows(x, self.dim)


class ChannelWeights(nn.Module):
    """Int8 weights, a scale a row: by the largest magnitude ("observed"), or learned."""

    def __init__(self, weight, mode):
        super().__init__()
        self.fixed = None
        if mode == "lsq":
            self.fixed = FixedQuantizer((weight.shape[0], 1), mode="lsq")
            with torch.no_grad():
                self.fixed.scale.copy_(row_integers(weight)[1])

    def integers(self, weight):
        """And their scales, [out, 1]."""
        return row_integers(weight) if self.fixed is None else (self.fixed.integers(weight), self.fixed.scale)

    def forward(self, weight):
        return quantize_rows(weight) if self.fixed is None else self.fixed(weight)


def group_scales(groups, candidates=21, rows_at_once=1 << 12):
    """The converter's rule for int4 (packed_linear.cpp, group_scale): of 2 * 21 scales the one of least squared error.

    groups: [..., size]. Returns [..., 1].
    """
    rows = groups.reshape(-1, groups.shape[-1])
    found = [_group_scales(part, candidates) for part in rows.split(rows_at_once)]  # parts that stay in the cache
    return torch.cat(found).reshape(*groups.shape[:-1], 1)


def _group_scales(groups, candidates):
    largest = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
    best = torch.ones_like(largest)
    least = torch.full_like(largest, math.inf)
    for candidate in range(2 * candidates):
        whole = largest / -8.0 if candidate < candidates else largest.abs() / 7.0
        scale = whole * (1.0 - 0.02 * (candidate % candidates))
        difference = groups.div(scale).round_().clamp_(-8, 7).mul_(scale).sub_(groups)
        error = difference.square_().sum(-1, keepdim=True)
        better = error < least
        best = torch.where(better, scale, best)
        least = torch.where(better, error, least)
    return torch.where(largest.abs() < TINY, torch.ones_like(best), best)


class GroupWeights(nn.Module):
    """Int4 weights in groups of inputs. Scales follow the weights, every `refresh` steps, and stay once `refreshing` is
    false, so that weights settle on a grid that stands still; but one that its group has shrunk away from is found again,
    or the converter, which tries scales from the group's largest weight, would not come to the same."""

    def __init__(self, weight, group=32, refresh=32):
        super().__init__()
        if weight.shape[1] % group != 0:
            raise ValueError(f"{weight.shape[1]} inputs are no multiple of the group size {group}")
        self.group, self.refresh, self.refreshing = group, refresh, True
        self.register_buffer("scale", torch.zeros(weight.shape[0], weight.shape[1] // group, 1))
        self.register_buffer("age", torch.tensor(0))

    @torch.no_grad()
    def update(self, groups):
        if self.refreshing or not self.scale.any():
            self.scale.copy_(group_scales(groups))
            return
        shrunk = groups.abs().amax(-1) < 6.5 * self.scale.abs().squeeze(-1)
        if shrunk.any():
            self.scale[shrunk] = group_scales(groups[shrunk])

    def forward(self, weight):
        groups = weight.reshape(weight.shape[0], -1, self.group)
        with torch.no_grad():
            if self.age % self.refresh == 0 if self.training else not self.scale.any():
                self.update(groups)
            self.age += self.training
            replacement = groups.div(self.scale).round_().clamp_(-8, 7).mul_(self.scale).reshape(weight.shape)
        return straight_through(weight, replacement)


def attention_levels(scores, factor):
    """exp2_q8 of NUMERICS.md, relative to the row's largest: integers 0..254. scores: [..., S, S], masked with -inf."""
    t = ((scores - scores.amax(-1, keepdim=True)) * factor).clamp(min=-16)
    exact = EXP2_LEVELS * torch.exp2(t)
    with torch.no_grad():
        whole = t.round()
        part, value = t - whole, torch.full_like(t, EXP2_POLYNOMIAL[3])
        for coefficient in EXP2_POLYNOMIAL[2::-1]:
            value = value.mul_(part).add_(coefficient)
        levels = torch.ldexp(value, whole).round_()
    return straight_through(exact, levels)


def attention_probabilities(scores, factor):
    levels = attention_levels(scores, factor)
    return levels / levels.sum(-1, keepdim=True)
