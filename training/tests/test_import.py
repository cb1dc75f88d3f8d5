#!/usr/bin/env python3
"""What training computes against what the engine answers with the scales that it imports.

Needs PyTorch, and OCTOBERT_BIN (the octobert command).
"""

import os
import pathlib
import subprocess
import sys
import unittest

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from test_training import Training as Base  # noqa: E402
from test_training import WORDS, train  # noqa: E402
from octobert_training.model import QuantizedBert  # noqa: E402

OCTOBERT = os.environ.get("OCTOBERT_BIN", "")


@unittest.skipUnless(OCTOBERT, "OCTOBERT_BIN is not set")
class Import(unittest.TestCase):
    run_train = Base.run_train

    @classmethod
    def setUpClass(cls):
        Base.setUpClass.__func__(cls)
        generator = torch.Generator().manual_seed(9)
        cls.texts = [" ".join(WORDS[i] for i in torch.randint(0, len(WORDS), (length,), generator=generator))
                     for length in (1, 2, 5, 17, 40, 60)]

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def engine_logits(self, folder, *options):
        packed, answers = folder / "m.octo", folder / "logits.safetensors"
        subprocess.run([OCTOBERT, "convert", folder, "-o", packed, "--quiet", "--threads", "1", *options], check=True)
        lines = folder / "texts.txt"
        lines.write_text("\n".join(self.texts) + "\n")
        subprocess.run([OCTOBERT, "logits", packed, "-o", answers, "--file", lines], check=True)
        return load_file(answers)

    def compare(self, scheme, ranges, *options):
        folder = self.run_train(f"{scheme}-{ranges}", "--scheme", scheme, "--ranges", ranges, "--epochs", "4")
        answers = self.engine_logits(folder, *options)
        model, _ = train.load_model(folder)
        quantized = QuantizedBert(model, scheme, "lsq" if ranges == "lsq" else "observed").eval()
        state = torch.load(folder / "training_state.pt", weights_only=True)
        quantized.load_state_dict(state["model"])
        tokens = equal = 0
        worst = 0.0
        for n in range(len(self.texts)):
            ids = answers[f"ids.{n}"].long()[None]
            with torch.no_grad():
                mine = quantized(ids, torch.ones_like(ids, dtype=torch.bool))[0]
            worst = max(worst, (mine - answers[f"logits.{n}"]).abs().max().item())
            equal += int((mine.argmax(-1) == answers[f"logits.{n}"].argmax(-1)).sum())
            tokens += ids.shape[1]
        self.assertEqual(equal, tokens, f"labels differ, logits up to {worst}")
        # A value within the last place of the middle between two levels may fall to either side, and moves a logit by
        # about a level's worth; without quantization of the same kind logits are ten times as far apart.
        self.assertLess(worst, 0.05)

    def test_static_learned(self):
        self.compare("static", "lsq", "--scheme", "static")

    def test_static_observed(self):
        self.compare("static", "observed", "--scheme", "static")

    def test_dynamic(self):
        self.compare("dynamic", "observed", "--scheme", "dynamic")

    def test_dynamic_with_learned_weights(self):
        self.compare("dynamic", "lsq", "--scheme", "dynamic")

    def test_weight_only(self):
        self.compare("weight-only", "observed", "--scheme", "weight-only")

    def test_int4(self):
        self.compare("int4", "observed", "--weight-bits", "4", "--group-size", "32")


if __name__ == "__main__":
    unittest.main(verbosity=2)
