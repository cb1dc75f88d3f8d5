"""HuggingFace's BertForTokenClassification, computed as the engine computes it under a scheme."""

import math

import torch
from torch import nn
from torch.nn import functional

from .quantizers import LOG2_E, ChannelWeights, DynamicQuantizer, FixedQuantizer, GroupWeights, attention_probabilities
from .quantizers import quantize_rows

SCHEMES = ("float", "weight-only", "int4", "dynamic", "static")


def linears(layer):
    """The matrices of an encoder layer, by the name of the product that they are part of."""
    attention = layer.attention.self
    return {"query": attention.query, "key": attention.key, "value": attention.value,
            "attention_output": layer.attention.output.dense, "ffn1": layer.intermediate.dense,
            "ffn2": layer.output.dense}


class LayerQuantizers(nn.Module):
    def __init__(self, layer, config, scheme, mode):
        super().__init__()
        heads, head_dim = config.num_attention_heads, config.hidden_size // config.num_attention_heads
        make = {"float": lambda w: None, "int4": GroupWeights}.get(scheme, lambda w: ChannelWeights(w, mode))
        weights = {name: make(linear.weight) for name, linear in linears(layer).items()}
        self.weights = nn.ModuleDict({name: w for name, w in weights.items() if w is not None})
        self.inputs = nn.ModuleDict()
        self.outputs = nn.ModuleDict()
        if scheme == "dynamic":
            self.inputs.update({name: DynamicQuantizer() for name in ("qkv", "attention_output", "ffn1", "ffn2")})
            self.outputs.update({"query": DynamicQuantizer(), "key": DynamicQuantizer(), "value": DynamicQuantizer(-2)})
        elif scheme == "static":
            for name in ("qkv", "attention_output", "ffn1", "ffn2"):
                self.inputs[name] = FixedQuantizer(asymmetric=name == "ffn2", mode=mode)
            for name in ("query", "key"):
                self.outputs[name] = FixedQuantizer((heads, 1, 1), mode=mode)
            self.outputs["value"] = FixedQuantizer((heads, 1, head_dim), mode=mode)


class QuantizedBert(nn.Module):
    """forward(ids, mask) -> logits [B, S, labels]. ids: [B, S], mask: [B, S], True for tokens.

    model: the HuggingFace model; its parameters are this module's and are trained in place.
    """

    def __init__(self, model, scheme, mode="lsq"):
        super().__init__()
        config = model.config
        if scheme not in SCHEMES:
            raise ValueError(f"scheme '{scheme}': expected one of {', '.join(SCHEMES)}")
        if config.model_type != "bert" or config.hidden_act not in ("gelu", "gelu_python"):
            raise ValueError(f"{config.model_type} with {config.hidden_act}: expected a BERT with gelu")
        self.model, self.scheme, self.mode = model, scheme, mode
        self.dropout = config.hidden_dropout_prob
        self.layers = nn.ModuleList(LayerQuantizers(layer, config, scheme, mode) for layer in model.bert.encoder.layer)

    def observing(self, on):
        """Whether fixed ranges of activations follow what they see."""
        for layer in self.layers:
            for quantizer in (*layer.inputs.values(), *layer.outputs.values()):
                quantizer.observing = on and isinstance(quantizer, FixedQuantizer)
        return self

    def refreshing(self, on):
        """Whether scales of int4 groups follow the weights."""
        for weights, _ in self.groups():
            weights.refreshing = on
        return self

    def groups(self):
        """Int4 weights' quantizers, each with its matrix."""
        for number, layer in enumerate(self.model.bert.encoder.layer):
            for name, linear in linears(layer).items():
                if name in self.layers[number].weights and isinstance(self.layers[number].weights[name], GroupWeights):
                    yield self.layers[number].weights[name], linear

    def update_groups(self):
        for weights, linear in self.groups():
            weights.update(linear.weight.unflatten(1, (-1, weights.group)))

    @torch.no_grad()
    def snap(self):
        """Int4 weights to the values that they stand for, whose scales the converter finds again as they are."""
        self.update_groups()
        for weights, linear in self.groups():
            linear.weight.copy_(weights(linear.weight))

    def scales(self):
        return [module.scale for module in self.modules() if isinstance(module, FixedQuantizer)]

    def _drop(self, x):
        return functional.dropout(x, self.dropout, self.training)

    def embed(self, ids):
        parts = self.model.bert.embeddings
        words = parts.word_embeddings(ids)
        if self.scheme != "float":
            words = quantize_rows(words)
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = words + parts.position_embeddings(positions) + parts.token_type_embeddings.weight[0]
        return self._drop(parts.LayerNorm(x))

    def linear(self, number, name, x):
        module = linears(self.model.bert.encoder.layer[number])[name]
        weights = self.layers[number].weights
        return functional.linear(x, weights[name](module.weight) if name in weights else module.weight, module.bias)

    def quantized_input(self, number, name, x, valid):
        inputs = self.layers[number].inputs
        return inputs[name](x, valid) if name in inputs else x

    def attention(self, number, x, mask):
        config, outputs = self.model.config, self.layers[number].outputs
        heads = config.num_attention_heads
        valid = mask[:, None, :, None]
        parts = []
        for name in ("query", "key", "value"):
            part = self.linear(number, name, x).unflatten(-1, (heads, -1)).transpose(1, 2)
            parts.append(outputs[name](part, valid) if name in outputs else part)
        query, key, value = parts
        scores = (query @ key.transpose(-1, -2)).masked_fill(~mask[:, None, None, :], -math.inf)
        root = math.sqrt(config.hidden_size // heads)
        if "query" in outputs:
            probabilities = attention_probabilities(scores, LOG2_E / root)
        else:
            probabilities = (scores / root).softmax(-1)
        return (probabilities @ value).transpose(1, 2).flatten(2)

    def encoder_layer(self, number, x, mask, watch):
        layer, valid = self.model.bert.encoder.layer[number], mask[:, :, None]
        context = self.attention(number, self.quantized_input(number, "qkv", x, valid), mask)
        watch(f"layer.{number}.context", context)
        context = self.quantized_input(number, "attention_output", context, valid)
        attended = self._drop(self.linear(number, "attention_output", context))
        x = layer.attention.output.LayerNorm(attended + x)
        watch(f"layer.{number}.attention_norm", x)
        inner = functional.gelu(self.linear(number, "ffn1", self.quantized_input(number, "ffn1", x, valid)))
        watch(f"layer.{number}.ffn1", inner)
        inner = self.quantized_input(number, "ffn2", inner, valid)
        x = layer.output.LayerNorm(self._drop(self.linear(number, "ffn2", inner)) + x)
        watch(f"layer.{number}.ffn_norm", x)
        return x

    def forward(self, ids, mask, watch=lambda name, value: None):
        x = self.embed(ids)
        watch("embeddings", x)
        for number in range(len(self.layers)):
            x = self.encoder_layer(number, x, mask, watch)
        return self.model.classifier(self._drop(x))
