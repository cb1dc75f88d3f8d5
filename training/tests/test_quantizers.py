#!/usr/bin/env python3
"""The quantizers of training against the engine's scalar kernels: the same floats, equal integers.

Needs PyTorch, and OCTOBERT_QUANTIZE_FLOATS (tests/quantize_floats.cpp, built).
"""

import math
import os
import pathlib
import subprocess
import sys
import unittest

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from octobert_training.quantizers import (FixedQuantizer, GroupWeights, LOG2_E, attention_levels, group_scales,
                                          quantize_rows, row_integers, straight_through)  # noqa: E402

PROGRAM = os.environ.get("OCTOBERT_QUANTIZE_FLOATS", "")


def engine(arguments, *arrays):
    data = b"".join(np.ascontiguousarray(a, dtype="<f4").tobytes() for a in arrays)
    return subprocess.run([PROGRAM, *map(str, arguments)], input=data, stdout=subprocess.PIPE, check=True).stdout


def hard_rows(rng, m, k):
    """Rows of many sizes, with halves between levels, zeros, tiny and huge values."""
    x = rng.standard_normal((m, k)) * np.exp2(rng.integers(-40, 40, (m, 1)))
    x = x.astype(np.float32)
    x[0] = 0
    x[1] = 1e-31
    x[2, :] = rng.integers(-254, 255, k) / 2  # exactly between levels once scaled by 127
    x[2, 0] = 127
    x[3] = np.float32(3e38) * rng.uniform(-1, 1, k)
    return x


@unittest.skipUnless(PROGRAM, "OCTOBERT_QUANTIZE_FLOATS is not set")
class EqualIntegers(unittest.TestCase):
    def setUp(self):
        self.rng = np.random.default_rng(20)

    def check_rows(self, kind):
        for m, k in ((7, 1), (9, 17), (64, 384), (8, 1536)):
            x = hard_rows(self.rng, m, k)
            answer = engine([kind, m, k], x)
            expected = np.frombuffer(answer[:m * k], np.int8).reshape(m, k)
            scale = np.frombuffer(answer[m * k:], "<f4")
            q, mine = row_integers(torch.from_numpy(x))
            np.testing.assert_array_equal(q.numpy().astype(np.int8), expected)
            np.testing.assert_array_equal(mine.numpy().reshape(-1), scale)

    def test_rows(self):
        self.check_rows("rows")

    def test_weights(self):
        self.check_rows("weights")

    def test_columns_follow_the_rule_of_rows(self):
        x = torch.from_numpy(hard_rows(self.rng, 33, 12))
        for mine, row in zip(row_integers(x, dim=-2), row_integers(x.T.contiguous())):
            self.assertTrue(torch.equal(mine, row.T))

    def test_fixed(self):
        m, k = 50, 1536
        x = (self.rng.standard_normal((m, k)) * 3).astype(np.float32)
        x[0, :3] = math.nan, math.inf, -math.inf
        for zero, scale in ((0, 0.0234375), (0, 0.03712), (-119, 0.0171), (127, 0.5), (-3, 1e-3)):
            quantizer = FixedQuantizer(mode="observed")
            quantizer.scale.data.fill_(scale)
            quantizer.zero_point.fill_(zero)
            if zero == 0:
                x[1] = (self.rng.integers(-260, 260, k) / 2) * np.float32(scale)  # between levels
            inv = np.full(k, np.float32(1) / np.float32(scale), np.float32)
            expected = np.frombuffer(engine(["static", m, k, zero], inv, x), np.int8).reshape(m, k)
            mine = quantizer.integers(torch.from_numpy(x)).numpy()
            np.testing.assert_array_equal(mine.astype(np.int8), expected)

    def test_attention_levels(self):
        """With V = 127 on the diagonal the context is proportional to the levels, whose largest is 254."""
        s = d = 32
        q, k = (self.rng.standard_normal((s, d)).astype(np.float32) for _ in range(2))
        context = np.frombuffer(engine(["attention", s, d], q, k, 127 * np.eye(s, d)), "<f4").reshape(s, s)
        expected = np.rint(254 * context / context.max(1, keepdims=True)).astype(int)
        scores = quantize_rows(torch.from_numpy(q)) @ quantize_rows(torch.from_numpy(k)).T
        mine = attention_levels(scores, LOG2_E / math.sqrt(d)).numpy().astype(int)
        difference = np.abs(mine - expected)
        self.assertLessEqual(difference.max(), 1)  # exp2 of the engine differs from PyTorch's in the last place
        self.assertGreaterEqual((difference == 0).mean(), 0.999)


class Gradients(unittest.TestCase):
    def test_rounding_passes_gradients_and_clipping_stops_them(self):
        x = torch.tensor([0.3, -5.0, 20.0], requires_grad=True)
        quantizer = FixedQuantizer(mode="lsq")
        quantizer.scale.data.fill_(0.1)
        quantizer(x).sum().backward()
        self.assertEqual(x.grad.tolist(), [1.0, 1.0, 0.0])

    def test_learned_scale_has_the_gradient_of_lsq(self):
        """Against the formula: (round(x / s) - x / s) inside, the level where clipped, times 1 / sqrt(n 127)."""
        x = torch.tensor([0.32, -0.57, 99.0, -99.0])
        quantizer = FixedQuantizer(mode="lsq")
        quantizer.scale.data.fill_(0.1)
        quantizer(x).sum().backward()
        expected = (3 - 3.2) + (-6 + 5.7) + 127 - 127
        self.assertAlmostEqual(quantizer.scale.grad.item(), expected / math.sqrt(4 * 127), places=4)

    def test_learned_scale_comes_near_the_best(self):
        torch.manual_seed(1)
        x = torch.randn(4096)
        quantizer = FixedQuantizer(mode="lsq")
        quantizer.scale.data.fill_(0.2)
        before = ((quantizer(x) - x) ** 2).mean().item()
        optimizer = torch.optim.SGD([quantizer.scale], lr=50.0)
        for _ in range(200):
            optimizer.zero_grad()
            ((quantizer(x) - x) ** 2).mean().backward()
            optimizer.step()
        self.assertLess(((quantizer(x) - x) ** 2).mean().item(), before / 4)

    def test_straight_through_is_the_identity_to_gradients(self):
        x = torch.randn(5, requires_grad=True)
        y = straight_through(x, x.detach().round())
        self.assertTrue(torch.equal(y, x.detach().round()))
        y.sum().backward()
        self.assertTrue(torch.equal(x.grad, torch.ones(5)))


class Groups(unittest.TestCase):
    def test_values_on_the_grid_stay(self):
        torch.manual_seed(2)
        levels = torch.randint(-8, 8, (6, 4, 32)).float()
        levels[..., 0] = -8
        groups = levels * torch.rand(6, 4, 1)
        scale = group_scales(groups)
        self.assertTrue(torch.allclose((groups / scale).round() * scale, groups, atol=1e-6))

    def test_scales_that_stand_still_are_found_again(self):
        """After weights moved under fixed scales, the converter's search gives the same values from those left behind."""
        torch.manual_seed(4)
        weight = torch.randn(64, 96)
        quantizer = GroupWeights(weight)
        quantizer(weight)
        quantizer.refreshing = False
        before = quantizer.scale.clone()
        weight = weight + 0.05 * torch.randn(64, 96)
        weight[:9] *= 0.5
        weight[9:20] *= 1.2
        quantizer.update(weight.reshape(64, 3, 32))
        self.assertTrue(torch.equal(quantizer.scale[9:20], before[9:20]))
        snapped = quantizer.eval()(weight)
        again = GroupWeights(snapped).eval()(snapped)
        self.assertTrue(torch.allclose(again, snapped, rtol=1e-6, atol=0))

    def test_sixteen_levels_a_group(self):
        torch.manual_seed(3)
        weight = torch.randn(5, 64)
        result = GroupWeights(weight).eval()(weight).reshape(5, 2, 32)
        for group in result.reshape(-1, 32):
            self.assertLessEqual(len(group.unique()), 16)
        self.assertLess((result.reshape(5, 64) - weight).abs().max().item(), 0.4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
