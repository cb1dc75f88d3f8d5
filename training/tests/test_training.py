#!/usr/bin/env python3
"""A few steps on a tiny model: losses fall, training resumes to the same bits, what is saved is what was trained."""

import json
import pathlib
import sys
import tempfile
import unittest

import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForTokenClassification

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import train  # noqa: E402
from octobert_training import conll  # noqa: E402
from octobert_training.model import QuantizedBert, linears  # noqa: E402

WORDS = ["anna", "bob", "paris", "rome", "runs", "to", "in", "sees", "the", "river"]
LABELS = {"anna": "B-PER", "bob": "B-PER", "paris": "B-LOC", "rome": "B-LOC"}


def make_checkpoint(folder):
    torch.manual_seed(7)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    labels = ["O", "B-PER", "B-LOC"]
    config = BertConfig(vocab_size=len(vocabulary), hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
                        intermediate_size=96, max_position_embeddings=64, id2label=dict(enumerate(labels)),
                        label2id={label: i for i, label in enumerate(labels)})
    BertForTokenClassification(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer",
                                                              "do_lower_case": True, "model_max_length": 64}))


def make_conll(path, sentences):
    generator = torch.Generator().manual_seed(5)
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(sentences):
            for i in torch.randint(0, len(WORDS), (int(torch.randint(3, 9, (1,), generator=generator)),),
                                   generator=generator):
                file.write(f"{WORDS[i]}\t{LABELS.get(WORDS[i], 'O')}\n")
            file.write("\n")


class Training(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        make_checkpoint(cls.folder / "model")
        make_conll(cls.folder / "train.tsv", 64)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def run_train(self, name, *options):
        arguments = [str(self.folder / "model"), "--train", str(self.folder / "train.tsv"), "-o",
                     str(self.folder / name), "--no-progress", "--batch-size", "8", "--learning-rate", "2e-3",
                     "--scale-learning-rate", "1e-2", "--calibration-batches", "2", "--threads", "1", *options]
        train.main(arguments)
        return self.folder / name

    def accuracy(self, folder, scheme, ranges="lsq"):
        """F1 of the saved floats under the scheme's saved scales."""
        model, tokenizer = train.load_model(folder)
        quantized = QuantizedBert(model, scheme, ranges).eval()
        state = torch.load(folder / "training_state.pt", weights_only=True)
        quantized.load_state_dict(state["model"])
        examples = conll.Examples(conll.read_conll(self.folder / "train.tsv"), tokenizer, model.config.label2id, 64)
        right = total = 0
        with torch.no_grad():
            for ids, mask, targets in examples.batches(16):
                answers = quantized(ids, mask).argmax(-1)
                right += int((answers == targets)[targets != -100].sum())
                total += int((targets != -100).sum())
        return right / total

    def test_every_scheme_learns(self):
        for scheme, ranges in (("float", "lsq"), ("dynamic", "observed"), ("static", "lsq"), ("static", "observed"),
                               ("int4", "observed"), ("weight-only", "lsq")):
            with self.subTest(scheme=scheme, ranges=ranges):
                folder = self.run_train(f"{scheme}-{ranges}", "--scheme", scheme, "--ranges", ranges, "--epochs", "6")
                self.assertGreater(self.accuracy(folder, scheme, ranges), 0.95)
                self.assertEqual((folder / "quantization.safetensors").exists(), scheme not in ("float", "int4"))

    def test_resumes_to_the_same_bits(self):
        self.check_resumes("static", "--scheme", "static", "--distill", "0.5")
        self.check_resumes("average", "--scheme", "static", "--ema", "0.8")
        self.check_resumes("int4", "--scheme", "int4", "--distill", "1", "--distill-layers", "1", "--freeze-embeddings")

    def check_resumes(self, name, *options):
        options = (*options, "--max-steps", "6", "--save-every", "3")
        whole = self.run_train(f"{name}-whole", *options)

        class Stop(Exception):
            pass

        original = train.Trainer.save_state

        def save_and_stop(trainer):
            original(trainer)
            if trainer.step == 3:
                raise Stop

        train.Trainer.save_state = save_and_stop
        try:
            with self.assertRaises(Stop):
                self.run_train(f"{name}-halves", *options)
        finally:
            train.Trainer.save_state = original
        halves = self.run_train(f"{name}-halves", *options, "--resume")
        for file in ("model.safetensors", *(("quantization.safetensors",) if name != "int4" else ())):
            expected, found = load_file(whole / file), load_file(halves / file)
            self.assertEqual(expected.keys(), found.keys())
            for key in expected:
                self.assertTrue(torch.equal(expected[key], found[key]), key)

    def test_average_of_the_steps(self):
        options = ("--scheme", "float", "--max-steps", "1", "--dropout", "0")
        last = load_file(self.run_train("last", *options) / "model.safetensors")
        average = load_file(self.run_train("average", *options, "--ema", "0.75") / "model.safetensors")
        first = load_file(self.folder / "model" / "model.safetensors")
        for key in first:
            self.assertTrue(torch.allclose(average[key], 0.75 * first[key] + 0.25 * last[key], atol=1e-6), key)
        self.assertFalse(torch.equal(first["classifier.weight"], last["classifier.weight"]))

    def test_averaged_int4_weights_are_on_their_grid(self):
        model, _ = train.load_model(self.run_train("grid", "--scheme", "int4", "--max-steps", "6", "--ema", "0.5"))
        layer = model.bert.encoder.layer[1]
        quantizers = QuantizedBert(model, "int4").eval().layers[1].weights
        for name, linear in linears(layer).items():
            self.assertLess((quantizers[name](linear.weight) - linear.weight).abs().max().item(), 1e-7, name)

    def test_held_out_sentences(self):
        whole = conll.read_conll(self.folder / "train.tsv")
        args = train.arguments(["model", "-o", "x", "--train", str(self.folder / "train.tsv"), "--hold-out", "4"])
        rest, held_out = train.sentences(args)
        self.assertEqual(held_out, whole[3::4])
        self.assertEqual(rest, [sentence for i, sentence in enumerate(whole) if i % 4 != 3])

    def test_saved_scales(self):
        folder = self.run_train("scales", "--scheme", "static", "--max-steps", "2")
        tensors = load_file(folder / "quantization.safetensors")
        name = "bert.encoder.layer.1.attention.self.query"
        shapes = {f"{name}.weight_scale": [64], f"{name}.input_scale": [1], f"{name}.input_zero_point": [1],
                  f"{name}.output_scale": [4], name.replace("query", "value") + ".output_scale": [64]}
        for key, shape in shapes.items():
            self.assertEqual(list(tensors[key].shape), shape, key)
        for key, value in tensors.items():
            if key.endswith("scale"):
                self.assertTrue(bool((value > 0).all()) and bool(torch.isfinite(value).all()), key)
        self.assertTrue(torch.equal(tensors[f"{name}.input_scale"],
                                    tensors[name.replace("query", "key") + ".input_scale"]))

    def test_frozen_embeddings_stay(self):
        folder = self.run_train("frozen", "--scheme", "int4", "--max-steps", "3", "--freeze-embeddings")
        before, after = load_file(self.folder / "model" / "model.safetensors"), load_file(folder / "model.safetensors")
        for key in before:
            self.assertEqual(torch.equal(before[key], after[key]), ".embeddings." in key, key)

    def test_distillation_alone_comes_near_the_float_model(self):
        """What is trained without labels answers more like the float model than what was rounded."""
        model, tokenizer = train.load_model(self.folder / "model")
        folder = self.run_train("distilled", "--scheme", "int4", "--distill", "1", "--distill-layers", "1",
                                "--learning-rate", "2e-4", "--epochs", "6")
        trained, _ = train.load_model(folder)
        examples = conll.Examples(conll.read_conll(self.folder / "train.tsv"), tokenizer, model.config.label2id, 64)
        ids, mask, _ = next(examples.batches(64))
        with torch.no_grad():
            expected = QuantizedBert(model, "float").eval()(ids, mask)[mask]
            rounded = QuantizedBert(model, "int4").eval()(ids, mask)[mask]
            learned = QuantizedBert(trained, "int4").eval()(ids, mask)[mask]
        self.assertLess((learned - expected).square().mean(), 0.9 * (rounded - expected).square().mean())

    def test_padding_changes_nothing(self):
        model, _ = train.load_model(self.folder / "model")
        ids = torch.tensor([[2, 5, 6, 7, 3]])
        padded = torch.cat([ids, torch.zeros(1, 4, dtype=torch.long)], 1)
        for scheme in ("float", "dynamic", "static"):
            quantized = QuantizedBert(model, scheme, "observed").eval()
            with torch.no_grad():
                short = quantized(ids, torch.ones(1, 5, dtype=torch.bool))
                long = quantized(padded, padded > 0)[:, :5]
            self.assertLess((short - long).abs().max().item(), 1e-4, scheme)

    def test_float_scheme_is_the_reference(self):
        model, _ = train.load_model(self.folder / "model")
        ids, mask = torch.tensor([[2, 5, 6, 7, 3]]), torch.ones(1, 5, dtype=torch.bool)
        with torch.no_grad():
            expected = model.eval()(ids, attention_mask=mask.long()).logits
            self.assertLess((QuantizedBert(model, "float").eval()(ids, mask) - expected).abs().max().item(), 1e-5)

    def test_bad_input(self):
        bad = self.folder / "bad.tsv"
        bad.write_text("anna\tB-ANIMAL\n")
        with self.assertRaisesRegex(ValueError, "B-ANIMAL"):
            train.main([str(self.folder / "model"), "--train", str(bad), "-o", str(self.folder / "x"), "--no-progress"])
        bad.write_text("\n\n")
        with self.assertRaisesRegex(ValueError, "no sentences"):
            conll.read_conll(bad)
        bad.write_text("word\n")
        with self.assertRaisesRegex(ValueError, ":1: expected a word and a label"):
            conll.read_conll(bad)
        with self.assertRaises(FileNotFoundError):
            self.run_train("nothing-here", "--scheme", "dynamic", "--resume")
        self.run_train("steps", "--scheme", "float", "--max-steps", "1")
        with self.assertRaisesRegex(ValueError, "trained with ema 0.0, asked for 0.9"):
            self.run_train("steps", "--scheme", "float", "--max-steps", "1", "--ema", "0.9", "--resume")


class Entities(unittest.TestCase):
    def test_spans(self):
        self.assertEqual(conll.entities(["B-PER", "I-PER", "O", "I-LOC", "I-PER", "B-PER"]),
                         {("PER", 0, 1), ("LOC", 3, 3), ("PER", 4, 4), ("PER", 5, 5)})

    def test_f1(self):
        self.assertAlmostEqual(conll.f1([["B-PER", "O", "B-LOC"]], [["B-PER", "O", "O"]]), 2 / 3)


if __name__ == "__main__":
    unittest.main(verbosity=2)
