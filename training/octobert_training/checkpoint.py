"""What training leaves: an ordinary HuggingFace folder, and beside it the scales as quantization.safetensors.

Keys of that file: MODULE is the name of a matrix in model.safetensors without ".weight".

| key | shape | meaning |
| --- | --- | --- |
| MODULE.weight_scale | [out] f32 | learned: q = round_to_i8(w * (1 / scale)) |
| MODULE.weight_amax | [out] f32 | observed: "quantize a row" of docs/NUMERICS.md with this largest magnitude |
| MODULE.input_scale | [1] f32 | the input's grid: q = round_to_i8(fma(x, 1 / scale, zero point)) |
| MODULE.input_zero_point | [1] i32 | |
| MODULE.output_scale | [heads] (query, key) or [hidden] (value) f32 | the grid of what attention reads, zero point 0 |

Metadata: format = "octobert-training", version = "1", scheme. int4 needs no scales: the converter finds the same ones.
"""

import torch
from safetensors.torch import save_file

from .model import linears
from .quantizers import ChannelWeights, FixedQuantizer

FILE = "quantization.safetensors"


def module_names(model):
    names = {module: name for name, module in model.named_modules()}
    return [{part: names[linear] for part, linear in linears(layer).items()} for layer in model.bert.encoder.layer]


def quantization_tensors(quantized):
    tensors = {}

    def put(key, value, dtype=torch.float32):
        tensors[key] = value.detach().to(dtype).reshape(-1).clone().contiguous()

    for number, names in enumerate(module_names(quantized.model)):
        quantizers = quantized.layers[number]
        matrices = linears(quantized.model.bert.encoder.layer[number])
        for part, module in names.items():
            weights = quantizers.weights[part] if part in quantizers.weights else None
            if isinstance(weights, ChannelWeights) and weights.fixed is not None:
                put(f"{module}.weight_scale", weights.fixed.scale)
            elif isinstance(weights, ChannelWeights):
                put(f"{module}.weight_amax", matrices[part].weight.abs().amax(1))
            site = "qkv" if part in ("query", "key", "value") else part
            fixed = quantizers.inputs[site] if site in quantizers.inputs else None
            if isinstance(fixed, FixedQuantizer):
                put(f"{module}.input_scale", fixed.scale)
                put(f"{module}.input_zero_point", fixed.zero_point, torch.int32)
            output = quantizers.outputs[part] if part in quantizers.outputs else None
            if isinstance(output, FixedQuantizer):
                put(f"{module}.output_scale", output.scale)
    return tensors


def save_checkpoint(quantized, tokenizer, folder):
    folder.mkdir(parents=True, exist_ok=True)
    quantized.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tensors = quantization_tensors(quantized)
    path = folder / FILE
    if tensors:
        save_file(tensors, path, {"format": "octobert-training", "version": "1", "scheme": quantized.scheme})
    elif path.exists():
        path.unlink()
