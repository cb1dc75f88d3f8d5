"""The engine's forward pass (docs/NUMERICS.md) to the bit, without gradients: what the packed model will compute.

Training computes with PyTorch's operators, whose results differ from the engine's in the last place. A value between
two levels then goes to the other one now and then, which moves everything that is computed from it: a few layers on, more
than half of some products' integers differ. What is measured is therefore computed here, in the engine's order.
"""

import math

import torch
from torch.nn import functional

from .model import linears
from .quantizers import EXP2_POLYNOMIAL, LOG2_E, FixedQuantizer, row_integers

LANES = 32
EXP2_LEAST = -16.0
GELU_CLAMP = 5.75
GELU_POLYNOMIAL = tuple(float.fromhex(c) for c in (
    "0x1.d5817ap-1", "-0x1.76bf3cp-4", "-0x1.03dd28p-5", "-0x1.227dp-10", "0x1.fc764p-10",
    "-0x1.906f5cp-13"))  # kGeluPoly


def fma(a, b, c):
    """a b + c of float32. In float64 a b is exact and the sum is rounded first: to another float once in 2^29 times."""
    return torch.addcmul(c.double(), a.double(), b.double()).float()


def horner(x, coefficients):
    p = torch.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        p = fma(p, x, torch.tensor(coefficient))
    return p


def lanes(x):
    """[..., K] -> [steps, ..., LANES]: what is added to the lanes, one step after the other."""
    return functional.pad(x, (0, -x.shape[-1] % LANES)).unflatten(-1, (-1, LANES)).movedim(-2, 0)


def fold(lane):
    """The lanes' sum. [..., LANES] -> [..., 1]."""
    while lane.shape[-1] > 1:
        low, high = lane.chunk(2, -1)
        lane = low + high
    return lane


def layer_norm(h, norm):
    """h: [..., N]; norm: nn.LayerNorm."""
    count = torch.tensor(float(h.shape[-1]))  # a tensor: division by a number may become a multiplication
    total, squares = torch.zeros(()), torch.zeros(())
    for step in lanes(h):
        total = total + step
    d = h - fold(total) / count
    for step in lanes(d):
        squares = fma(step, step, squares)
    # PyTorch's square root of float32 is not always the nearest; that of float64 leaves it.
    inverse = torch.tensor(1.0) / torch.sqrt((fold(squares) / count + norm.eps).double()).float()
    return fma(d * inverse, norm.weight, norm.bias)


def gelu(x, at_once=1 << 15):
    """In parts that stay in the cache."""
    return torch.cat([_gelu(part) for part in x.flatten().split(at_once)]).reshape(x.shape)


def _gelu(x):
    u = x.abs().clamp(max=GELU_CLAMP)
    p = horner(u, GELU_POLYNOMIAL)
    for _ in range(3):
        p = p * p
    return fma(-u, p, x.clamp(min=0))


def exp2_levels(t):
    t = t.clamp(min=EXP2_LEAST)
    whole = t.round()
    return torch.ldexp(horner(t - whole, EXP2_POLYNOMIAL), whole).round()


def integer_product(a, b):
    """a: integers up to 254 in magnitude, b: up to 127. Exact, then rounded once, to float32."""
    if a.shape[-1] * 254 * 127 <= 1 << 24:  # so many that float32 holds every sum
        return a @ b
    return (a.double() @ b.double()).float()


SCHEMES = ("dynamic", "static")  # of which all products but the classifier's are integers


class EnginePass:
    """pass(ids, mask) -> logits [B, S, labels], as QuantizedBert's; the classifier is PyTorch's.

    quantized: a QuantizedBert of one of SCHEMES; its weights are quantized once, here.
    watch(name, value): the integers, as floats, that layer.N.{qkv,attention_output,ffn1,ffn2} read [B, S, k] and that
    attention does, layer.N.{query,key,value} [B, heads, S, head_dim] and layer.N.levels [B, heads, S, S]; and the
    layer's result, layer.N.ffn_norm [B, S, hidden].
    """

    @torch.no_grad()
    def __init__(self, quantized):
        if quantized.scheme not in SCHEMES:
            raise ValueError(f"scheme '{quantized.scheme}': expected one of {', '.join(SCHEMES)}")
        self.model, self.layers = quantized.model, quantized.layers
        self.weights = [{name: quantized.layers[number].weights[name].integers(linear.weight)
                         for name, linear in linears(layer).items()}
                        for number, layer in enumerate(quantized.model.bert.encoder.layer)]
        words, scale = row_integers(quantized.model.bert.embeddings.word_embeddings.weight)
        self.words = words * scale

    @torch.no_grad()
    def __call__(self, ids, mask, watch=lambda name, value: None):
        x = self.embed(ids)
        for number in range(len(self.layers)):
            x = self.encoder_layer(number, x, mask, lambda name, value: watch(f"layer.{number}.{name}", value))
        return self.model.classifier(x)

    def embed(self, ids):
        parts = self.model.bert.embeddings
        positions = parts.position_embeddings.weight[:ids.shape[1]]
        return layer_norm((self.words[ids] + parts.token_type_embeddings.weight[0]) + positions, parts.LayerNorm)

    def encoder_layer(self, number, x, mask, watch):
        layer, valid = self.model.bert.encoder.layer[number], mask[:, :, None]

        def read(name, value):
            integers, scale = quantized(self.layers[number].inputs[name], value * valid)
            watch(name, integers)
            return integers - zero_point(self.layers[number].inputs[name]), scale

        def product(name, a):
            q, scale = self.weights[number][name]
            return fma(integer_product(a[0], q.T), a[1] * scale.T, linears(layer)[name].bias)

        inputs = read("qkv", x)
        context = self.attention(number, [product(name, inputs) for name in ("query", "key", "value")], mask, watch)
        attended = product("attention_output", read("attention_output", context))
        x = layer_norm(attended + x, layer.attention.output.LayerNorm)
        inner = gelu(product("ffn1", read("ffn1", x)))
        x = layer_norm(product("ffn2", read("ffn2", inner)) + x, layer.output.LayerNorm)
        watch("ffn_norm", x)
        return x

    def attention(self, number, parts, mask, watch):
        heads = self.model.config.num_attention_heads
        integers, scales = {}, {}
        for name, part in zip(("query", "key", "value"), parts):
            part = part.unflatten(-1, (heads, -1)).transpose(1, 2) * mask[:, None, :, None]
            integers[name], scales[name] = quantized(self.layers[number].outputs[name], part)
            watch(name, integers[name])
        scores = integer_product(integers["query"], integers["key"].transpose(-1, -2))
        factor, c2 = scales["query"], torch.tensor(LOG2_E / math.sqrt(parts[0].shape[-1] // heads))
        if isinstance(self.layers[number].outputs["key"], FixedQuantizer):
            factor = factor * scales["key"]
        else:
            scores = scores * scales["key"].transpose(-1, -2)
        scores = scores.masked_fill(~mask[:, None, None, :], -math.inf)
        levels = exp2_levels((scores - scores.amax(-1, keepdim=True)) * (factor * c2))
        watch("levels", levels)
        weighted = integer_product(levels, integers["value"]) * scales["value"]
        return (weighted * (torch.tensor(1.0) / levels.sum(-1, keepdim=True))).transpose(1, 2).flatten(2)


def quantized(quantizer, x):
    """Integers and their scale."""
    if isinstance(quantizer, FixedQuantizer):
        return quantizer.integers(x), quantizer.scale
    return row_integers(x, quantizer.dim)


def zero_point(quantizer):
    return quantizer.zero_point if isinstance(quantizer, FixedQuantizer) else 0.0
