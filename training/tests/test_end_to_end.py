#!/usr/bin/env python3
"""What is trained, exported and converted, run by the engine and by PyTorch: the integers that every product reads.

Needs PyTorch, OCTOBERT_BIN (the octobert command) and OCTOBERT_PRODUCT_INPUTS (tests/product_inputs.cpp, built).
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import torch
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from test_training import WORDS, make_checkpoint, make_conll, train  # noqa: E402
from octobert_training import conll  # noqa: E402
from octobert_training.engine import EnginePass, quantized as integers_and_scale, zero_point  # noqa: E402
from octobert_training.model import QuantizedBert  # noqa: E402
from octobert_training.quantizers import attention_levels  # noqa: E402

OCTOBERT = os.environ.get("OCTOBERT_BIN", "")
PROGRAM = os.environ.get("OCTOBERT_PRODUCT_INPUTS", "")
INPUTS = ("qkv", "attention_output", "ffn1", "ffn2")
HEADS = ("query", "key", "value")


def of_text(name, value, row, s):
    """A text's share of a padded batch."""
    if name.endswith("levels"):
        return value[row, :, :s, :s]
    return value[row, :, :s] if name.split(".")[-1] in HEADS else value[row, :s]


class EngineIntegers:
    """texts: {"ids": [S], "layer.N.NAME": as in EnginePass, of one text} of each text."""

    def __init__(self, folder, scheme, texts, heads):
        packed, lines, answers = folder / "m.octo", folder / "texts.txt", folder / "integers.safetensors"
        subprocess.run([OCTOBERT, "convert", folder, "-o", packed, "--scheme", scheme, "--no-check", "--quiet"],
                       check=True)
        lines.write_text("\n".join(texts) + "\n", encoding="utf-8")
        subprocess.run([PROGRAM, packed, lines, answers], check=True)
        subprocess.run([OCTOBERT, "logits", packed, "-o", folder / "logits.safetensors", "--file", lines], check=True)
        self.logits = load_file(folder / "logits.safetensors")
        self.tensors, self.heads, self.taken = load_file(answers), heads, {}
        ends = self.tensors["offsets"].tolist()
        self.texts = [self.text(begin, end) for begin, end in zip(ends, ends[1:])]

    def text(self, begin, end):
        found = {"ids": self.tensors["ids"][begin:end].long()}
        for key, value in self.tensors.items():
            layer, _, name = key.rpartition(".")
            if name in INPUTS or name == "ffn_norm":
                found[key] = value[begin:end]
            elif name == "scores":
                found[f"{layer}.query"], found[f"{layer}.key"] = map(self.by_head, value[begin:end].chunk(2, -1))
            elif name == "values":
                found[f"{layer}.value"] = self.by_head(value[begin:end])
            elif name == "levels":
                first, s = self.taken.get(key, 0), end - begin
                self.taken[key] = first + self.heads * s * s
                found[key] = value[first:self.taken[key]].reshape(self.heads, s, s)
        return found

    def by_head(self, rows):
        return rows.unflatten(-1, (self.heads, -1)).transpose(0, 1)


class Differences:
    """Of integers, by product."""

    def __init__(self):
        self.by_product = {}

    def add(self, name, mine, expected):
        if mine.shape != expected.shape:
            raise AssertionError(f"{name}: [{mine.shape}], the engine's {expected.shape}")
        difference = (mine.int() - expected.int()).abs()
        counts = self.by_product.setdefault(name, [0, 0, 0])
        counts[0] += difference.numel()
        counts[1] += int((difference != 0).sum())
        counts[2] = max(counts[2], int(difference.max()))

    def total(self, product=""):
        """Integers, how many of them differ, by how much at most; of all products or those of a name."""
        counts = [c for name, c in self.by_product.items() if name.endswith(product)]
        return sum(c[0] for c in counts), sum(c[1] for c in counts), max(c[2] for c in counts)

    def __str__(self):
        products = dict.fromkeys(name.split(".")[-1] for name in self.by_product)
        lines = [f"  {product:<17}" + "{:>9} integers, {:>6} differ, by {} at most".format(*self.total("." + product))
                 for product in products]
        worst = {name: counts for name, counts in self.by_product.items() if counts[1]}
        return "\n".join(lines + [f"  first: {name} {counts}" for name, counts in list(worst.items())[:1]])


def every_integer(quantized, texts):
    """EnginePass over all texts at once against the engine: Differences, the share of the layers' results that are the
    same floats, EnginePass' logits by text."""
    differences, found, same = Differences(), {}, []
    ids = torch.nn.utils.rnn.pad_sequence([text["ids"] for text in texts], batch_first=True)
    lengths = torch.tensor([len(text["ids"]) for text in texts])
    logits = EnginePass(quantized)(ids, torch.arange(ids.shape[1]) < lengths[:, None], found.__setitem__)
    for row, text in enumerate(texts):
        if found.keys() != text.keys() - {"ids"}:
            raise AssertionError(f"{sorted(found)}, the engine's {sorted(text)}")
        for name, value in found.items():
            value = of_text(name, value, row, len(text["ids"]))
            if name.endswith("ffn_norm"):
                same.append((value == text[name]).flatten())
            else:
                differences.add(name, value, text[name])
    return differences, torch.cat(same).float().mean().item(), [logits[row, :s] for row, s in enumerate(lengths)]


def step_by_step(quantized, texts):
    """What training computes from each quantizer's result to the next one's, beginning with the engine's integers."""
    differences, current = Differences(), {}

    def replace(name, quantizer, x):
        integers, scale = integers_and_scale(quantizer, x)
        differences.add(name, integers[0], current[name])
        return (current[name][None] - zero_point(quantizer)) * scale

    def replace_levels(scores, factor):
        levels = attention_levels(scores, factor)
        name = next(names)
        differences.add(name, levels[0], current[name])
        return current[name][None].float()

    hooks = [quantizer.register_forward_hook(lambda module, args, _, name=f"layer.{number}.{name}": replace(
                 name, module, args[0]))
             for number, layer in enumerate(quantized.layers)
             for name, quantizer in (*layer.inputs.items(), *layer.outputs.items())]
    with torch.no_grad(), mock.patch("octobert_training.quantizers.attention_levels", replace_levels):
        for text in texts:
            current = text
            names = iter([f"layer.{number}.levels" for number in range(len(quantized.layers))])
            quantized(text["ids"][None], torch.ones(1, len(text["ids"]), dtype=torch.bool))
    for hook in hooks:
        hook.remove()
    return differences


class Checks:
    """setUpClass makes folder, checkpoint, train_file, texts."""

    def check(self, scheme, ranges, *options):
        folder = self.folder / f"{scheme}-{ranges}"
        train.main([str(self.checkpoint), "--train", str(self.train_file), "-o", str(folder), "--no-progress",
                    "--threads", "1", "--scheme", scheme, "--ranges", ranges, *options])
        model, _ = train.load_model(folder)
        quantized = QuantizedBert(model, scheme, ranges).eval()
        quantized.load_state_dict(torch.load(folder / "training_state.pt", weights_only=True)["model"])
        engine = EngineIntegers(folder, scheme, self.texts, model.config.num_attention_heads)
        self.check_every_integer(quantized, engine, f"{folder.name}, every integer:")
        self.check_steps(quantized, engine, f"{folder.name}, training's steps, each from the engine's integers:")

    def check_every_integer(self, quantized, engine, title):
        differences, same, logits = every_integer(quantized, engine.texts)
        print(f"\n{title}\n{differences}\n  {100 * same:.4f} % of the layers' floats are equal", flush=True)
        self.assertEqual(differences.total()[1], 0, differences)
        # Not all: EnginePass' fma rounds twice, once in 2^29 times to another float, which its token keeps.
        self.assertGreater(same, 0.99)
        for n, mine in enumerate(logits):  # the classifier's floats are PyTorch's
            self.assertLess((mine - engine.logits[f"logits.{n}"]).abs().max().item(), 1e-5)

    def check_steps(self, quantized, engine, title):
        differences = step_by_step(quantized, engine.texts)
        print(f"{title}\n{differences}", flush=True)
        self.assertEqual(len(differences.by_product), 8 * len(quantized.layers))
        for product in (*INPUTS, *HEADS, "levels"):
            count, different, most = differences.total("." + product)
            self.assertLessEqual(most, 1, differences)
            self.assertLessEqual(different, 0.001 * count, differences)


@unittest.skipUnless(OCTOBERT and PROGRAM, "OCTOBERT_BIN or OCTOBERT_PRODUCT_INPUTS is not set")
class Tiny(Checks, unittest.TestCase):
    """After training that moved weights and scales well away from where they began; texts up to the model's window."""

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.checkpoint, cls.train_file = cls.folder / "model", cls.folder / "train.tsv"
        make_checkpoint(cls.checkpoint)
        make_conll(cls.train_file, 64)
        generator = torch.Generator().manual_seed(9)
        cls.texts = [" ".join(WORDS[i] for i in torch.randint(0, len(WORDS), (length,), generator=generator))
                     for length in (1, 2, 5, 17, 40, 62)]

    def check_trained(self, scheme, ranges):
        self.check(scheme, ranges, "--batch-size", "8", "--learning-rate", "2e-3", "--scale-learning-rate", "1e-2",
                   "--calibration-batches", "2", "--epochs", "4")

    def test_static_learned(self):
        self.check_trained("static", "lsq")

    def test_static_observed(self):
        self.check_trained("static", "observed")

    def test_dynamic_learned(self):
        self.check_trained("dynamic", "lsq")

    def test_dynamic_observed(self):
        self.check_trained("dynamic", "observed")


@unittest.skipUnless(OCTOBERT and PROGRAM, "OCTOBERT_BIN or OCTOBERT_PRODUCT_INPUTS is not set")
class Bundled(Checks, unittest.TestCase):
    """The bundled model after two steps, on sentences that it was not trained on."""

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.folder, cls.checkpoint = pathlib.Path(cls.temporary.name), ROOT / "models" / "minilm-ner"
        cls.train_file = ROOT / "data" / "ner" / "calibration.tsv"
        sentences = conll.read_conll(ROOT / "data" / "ner" / "E1.tsv")[:16]
        cls.texts = [" ".join(words) for words, _ in sentences]

    def check_two_steps(self, scheme, ranges):
        self.check(scheme, ranges, "--limit", "64", "--batch-size", "4", "--calibration-batches", "8",
                   "--max-steps", "2", "--distill", "1")

    def test_static_learned(self):
        self.check_two_steps("static", "lsq")

    def test_dynamic_observed(self):
        self.check_two_steps("dynamic", "observed")


if __name__ == "__main__":
    unittest.main(verbosity=2)
