#!/usr/bin/env python3
"""Checkpoints as other tools quantize them, and the integers that an import must give: tests/data/quantized.

    make_quantized_checkpoints.py OUT_DIR

One tiny BERT in each form. expected.safetensors of a folder: MODULE.q (int8), MODULE.scale (fp32) and MODULE.floats for
every quantized matrix, by octobert's names ("layer.0.query"), and minus_128, how many int8 weights are -128.

Made by the tools themselves: compressed-tensors and compressed-tensors-static (package compressed-tensors), torch-qat and
torch-converted (torch.ao.quantization), octobert (training/). Synthesized from the names of their tensors, because the
packages need a GPU's toolkit: pytorch-quantization, modelopt. Needs requirements.txt beside it and
compressed-tensors==0.20.0. tests/import_quantized_test.cpp and tests/import_static_test.cpp read the results.
"""

import argparse
import json
import pathlib
import sys
import tempfile
import warnings

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForTokenClassification

ROOT = pathlib.Path(__file__).resolve().parents[2]
LABELS = ["O", "B-PER", "I-PER"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij", *("##" + c for c in "abcdefghij"), "the"]
PARTS = {"query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
         "attention_output": "attention.output.dense", "ffn1": "intermediate.dense", "ffn2": "output.dense"}


def make_model():
    torch.manual_seed(11)
    config = BertConfig(vocab_size=len(VOCABULARY), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=24, max_position_embeddings=32, id2label=dict(enumerate(LABELS)),
                        label2id={label: i for i, label in enumerate(LABELS)})
    model = BertForTokenClassification(config)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def modules(model):
    """(octobert's name, the checkpoint's name, module) of each matrix of the encoder."""
    for i, layer in enumerate(model.bert.encoder.layer):
        for ours, theirs in PARTS.items():
            yield f"layer.{i}.{ours}", f"bert.encoder.layer.{i}.{theirs}", layer.get_submodule(theirs)


def batches():
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(5, len(VOCABULARY), (4, 12), generator=generator) for _ in range(4)]


def rounded(weight, inverse):
    return (weight * inverse).clamp(-127, 127).round()


class Expected:
    def __init__(self):
        self.tensors, self.minus_128 = {}, 0

    def add(self, name, q, scale, floats=None):
        """q: as the tool stores it, -128 included."""
        scale = scale.detach().float().reshape(-1)
        floats = q.float() * scale[:, None] if floats is None else floats
        self.minus_128 += int((q == -128).sum())
        self.tensors[name + ".q"] = q.clamp(min=-127).to(torch.int8).contiguous()
        self.tensors[name + ".scale"] = scale.clone()
        self.tensors[name + ".floats"] = floats.detach().float().contiguous()

    def save(self, folder):
        self.tensors["minus_128"] = torch.tensor([self.minus_128], dtype=torch.int64)
        save_file(self.tensors, folder / "expected.safetensors")


def write(folder, model, tensors, expected, quantization_config=None, binary=False):
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config.to_dict() | {"architectures": ["BertForTokenClassification"]}
    config.pop("quantization_config", None)
    if quantization_config is not None:
        config["quantization_config"] = quantization_config
    (folder / "config.json").write_text(json.dumps(config, indent=1, default=str) + "\n")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    if binary:
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    expected.save(folder)


def compressed_tensors(folder, static):
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (QuantizationArgs, QuantizationConfig, QuantizationScheme,
                                                 QuantizationStatus, apply_quantization_config)
    from compressed_tensors.quantization.utils import calculate_qparams
    model = make_model()
    inputs = (QuantizationArgs(num_bits=8, symmetric=False, strategy="tensor") if static else
              QuantizationArgs(num_bits=8, symmetric=True, strategy="token", dynamic=True))
    weights = QuantizationArgs(num_bits=8, symmetric=True, strategy="channel")
    scheme = QuantizationScheme(targets=["Linear"], weights=weights, input_activations=inputs)
    apply_quantization_config(model, QuantizationConfig(config_groups={"group_0": scheme}, ignore=["classifier"],
                                                        quantization_status=QuantizationStatus.INITIALIZED))
    seen = observe_inputs(model)
    for ours, _, module in modules(model):
        low, high = module.weight.amin(1, keepdim=True), module.weight.amax(1, keepdim=True)
        scale, _ = calculate_qparams(low, high, weights)
        module.weight_scale.data.copy_(scale)
        if static:
            scale, zero = calculate_qparams(*seen[ours], inputs)
            module.input_scale.data.copy_(scale.reshape(module.input_scale.shape))
            module.input_zero_point.data.copy_(zero.reshape(module.input_zero_point.shape))
        module.quantization_status = QuantizationStatus.FROZEN
    compressor = ModelCompressor.from_pretrained_model(model, quantization_format="int-quantized")
    compressor.compress_model(model)
    state = {k: v.detach() for k, v in model.state_dict().items()}
    expected = Expected()
    for ours, theirs, _ in modules(model):
        expected.add(ours, state[f"{theirs}.weight"], state[f"{theirs}.weight_scale"])
        if static:
            expected.tensors[ours + ".input_scale"] = state[f"{theirs}.input_scale"].float().reshape(1)
            expected.tensors[ours + ".input_zero"] = state[f"{theirs}.input_zero_point"].to(torch.int32).reshape(1)
    settings = json.loads(compressor.quantization_config.model_dump_json()) | {"quant_method": "compressed-tensors",
                                                                             "format": "int-quantized"}
    write(folder, model, state, expected, settings)


def observe_inputs(model):
    """{name: (lowest, highest)} of each matrix's input."""
    seen, handles = {}, []
    for ours, _, module in modules(model):
        def watch(_, args, ours=ours):
            low, high = args[0].min(), args[0].max()
            if ours in seen:
                low, high = torch.minimum(low, seen[ours][0]), torch.maximum(high, seen[ours][1])
            seen[ours] = (low, high)
        handles.append(module.register_forward_pre_hook(watch))
    with torch.no_grad():
        for ids in batches():
            model(ids)
    for handle in handles:
        handle.remove()
    return seen


def by_amax(folder, modelopt):
    """Names: NVIDIA's tensor_quantizer.py of pytorch-quantization, and of ModelOpt (no leading underscore)."""
    model = make_model()
    state = {k: v.detach().clone() for k, v in model.state_dict().items()}
    under = "" if modelopt else "_"
    expected, seen = Expected(), observe_inputs(model)
    generator = torch.Generator().manual_seed(4)
    for ours, theirs, module in modules(model):
        weight = module.weight.detach()
        pre = None
        if modelopt:
            shared = torch.Generator().manual_seed(len(weight[0]))  # query, key and value read the same input
            pre = 0.5 + torch.rand(weight.shape[1], generator=shared)
            weight = weight / pre
            state[f"{theirs}.weight"] = weight
            state[f"{theirs}.input_quantizer._pre_quant_scale"] = pre
        amax = weight.abs().amax(1, keepdim=True)
        if not modelopt:
            amax = amax * (0.8 + 0.2 * torch.rand(amax.shape, generator=generator))  # clipped, as trained ones are
        state[f"{theirs}.{under}weight_quantizer._amax"] = amax
        input_amax = torch.maximum(-seen[ours][0], seen[ours][1])
        state[f"{theirs}.{under}input_quantizer._amax"] = input_amax.reshape([1] if modelopt else [])
        levels = torch.full_like(amax, 127.0)
        expected.add(ours, rounded(weight, levels / amax), amax / levels,
                     weight if pre is None else weight * pre)
        expected.tensors[ours + ".input_scale"] = (input_amax / torch.full_like(input_amax, 127.0)).reshape(1)
    for i in range(2):
        attention = f"bert.encoder.layer.{i}.attention.self"
        for j, part in enumerate("qkv"):
            name = f"{attention}.{part}_bmm_quantizer" if modelopt else f"{attention}.matmul_{part}_input_quantizer"
            state[f"{name}._amax"] = torch.tensor(1.5 + i + j / 4)
        if not modelopt:
            state[f"{attention}.matmul_a_input_quantizer._amax"] = torch.tensor(1.0)
            state[f"bert.encoder.layer.{i}.intermediate.intermediate_act_fn_input_quantizer._amax"] = torch.tensor(2.0)
            state[f"bert.encoder.layer.{i}.output.add_residual_input_quantizer._amax"] = torch.tensor(3.0)
    write(folder, model, state, expected)


def prepared_for_qat():
    from torch.ao import quantization
    model = make_model().train()
    for _, _, module in modules(model):
        module.qconfig = quantization.get_default_qat_qconfig("x86")
    for name, module in model.named_modules():
        if name.endswith("LayerNorm"):
            module.qconfig = quantization.get_default_qat_qconfig("x86")
    quantization.prepare_qat(model, inplace=True)
    with torch.no_grad():
        for ids in batches():
            model(ids)
    return model.eval()


def torch_qat(folder):
    model = prepared_for_qat()
    state = model.state_dict()
    expected = Expected()
    for ours, theirs, module in modules(model):
        scale = state[f"{theirs}.weight_fake_quant.scale"]
        q = torch.quantize_per_channel(module.weight.detach(), scale, torch.zeros(len(scale)), 0, torch.qint8)
        expected.add(ours, q.int_repr(), scale, module.weight)
        expected.minus_128 = 0  # floats are stored: nothing is replaced
    for i in range(2):
        norm = f"bert.encoder.layer.{i}.attention.output.LayerNorm.activation_post_process"
        if f"{norm}.scale" in state:
            expected.tensors[f"layer.{i}.ffn1.input_scale"] = state[f"{norm}.scale"].clone()
            expected.tensors[f"layer.{i}.ffn1.input_zero"] = (state[f"{norm}.zero_point"] - 128).to(torch.int32)
    # The other form of a state dict that trainers write, a tensor that is not contiguous, two that share a storage.
    state = dict(state)
    name = "classifier.weight"
    state[name] = state[name].t().contiguous().t()
    write(folder, model, {"epoch": 1, "state_dict": state}, expected, binary=True)


def torch_converted(folder):
    from torch.ao import quantization
    model = quantization.convert(prepared_for_qat())
    expected = Expected()
    for ours, _, module in modules(model):
        weight = module.weight()
        expected.add(ours, weight.int_repr(), weight.q_per_channel_scales())
    write(folder, model, model.state_dict(), expected, binary=True)


def octobert(folder):
    sys.path.insert(0, str(ROOT / "training"))
    import train
    model = make_model()
    with tempfile.TemporaryDirectory() as temporary:
        source, data = pathlib.Path(temporary) / "model", pathlib.Path(temporary) / "train.tsv"
        model.save_pretrained(source)
        (source / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
        (source / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
        data.write_text("".join(f"{a}\tB-PER\n{b}\tI-PER\nthe\tO\n\n" for a in "abcde" for b in "fghij"))
        train.main([str(source), "--train", str(data), "-o", str(folder), "--scheme", "static", "--max-steps", "4",
                    "--no-progress", "--threads", "1"])
    (folder / "training_state.pt").unlink()
    model, _ = train.load_model(folder)
    from safetensors.torch import load_file
    scales = load_file(folder / "quantization.safetensors")
    expected = Expected()
    for ours, theirs, module in modules(model):
        scale = scales[f"{theirs}.weight_scale"]
        expected.add(ours, rounded(module.weight.detach(), (torch.ones_like(scale) / scale)[:, None]), scale,
                     module.weight)
        expected.tensors[ours + ".input_scale"] = scales[f"{theirs}.input_scale"]
        expected.tensors[ours + ".input_zero"] = scales[f"{theirs}.input_zero_point"]
    expected.save(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--only", help="one form")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    forms = {"compressed-tensors": lambda f: compressed_tensors(f, False),
             "compressed-tensors-static": lambda f: compressed_tensors(f, True),
             "pytorch-quantization": lambda f: by_amax(f, False), "modelopt": lambda f: by_amax(f, True),
             "torch-qat": torch_qat, "torch-converted": torch_converted, "octobert": octobert}
    for name, make in forms.items():
        if args.only in (None, name):
            make(args.output / name)
            print(name)


if __name__ == "__main__":
    main()
