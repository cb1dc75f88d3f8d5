"""bench/compare.py's verdict on made-up times: what is equal passes, what is slower fails, noise is allowed for.

Run by ctest; python3, standard library.
"""
import pathlib
import random
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
import compare  # noqa: E402


def rounds(slower, noise, count=15, seed=1):
    """(base, head, base) around 10 ms; `noise` is the standard deviation of a turn, as a share."""
    numbers = random.Random(seed)

    def turn(ms):
        return ms * numbers.lognormvariate(0, noise) if noise else ms

    return [(turn(10), turn(10 * slower), turn(10)) for _ in range(count)]


class Compare(unittest.TestCase):
    def test_identical_runs(self):
        result = compare.compare([(10.0, 10.0, 10.0)] * 5)
        self.assertEqual((result.ratio, result.low, result.high, result.noise), (1, 1, 1, 0))
        self.assertFalse(result.slower(0))
        self.assertFalse(result.slower(compare.LIMIT))

    def test_five_percent_slower_and_faster(self):
        slower = compare.compare(rounds(1.05, 0))
        self.assertAlmostEqual(slower.ratio, 1.05)
        self.assertTrue(slower.slower(compare.LIMIT))
        self.assertFalse(compare.compare(rounds(1.02, 0)).slower(compare.LIMIT))
        self.assertFalse(compare.compare(rounds(0.90, 0)).slower(compare.LIMIT))

    def test_a_drift_of_the_machine_is_no_difference(self):
        drifting = [(ms, ms * 1.01, ms * 1.01**2) for ms in (10 * 1.01 ** (3 * i) for i in range(15))]
        result = compare.compare(drifting)
        self.assertAlmostEqual(result.ratio, 1)
        self.assertFalse(result.slower(0))

    def test_one_disturbed_round_decides_nothing(self):
        calm = rounds(1, 0.002)
        self.assertFalse(compare.compare([(10, 30, 10), *calm]).slower(compare.LIMIT))
        slow = rounds(1.05, 0.002)
        self.assertTrue(compare.compare([(30, 10, 30), *slow]).slower(compare.LIMIT))

    def test_noise_is_estimated_and_allowed_for(self):
        calm, noisy = (compare.compare(rounds(1.05, noise)) for noise in (0.002, 0.10))
        self.assertLess(calm.noise, 0.005)
        self.assertGreater(noisy.noise, 0.03)
        self.assertTrue(calm.slower(compare.LIMIT))
        many = [compare.compare(rounds(1.0, 0.10, seed=seed)) for seed in range(200)]
        self.assertLess(sum(result.slower(0) for result in many), 20, "about 1 in 40 is beyond two standard errors")
        more = compare.compare(rounds(1.05, 0.10, count=1000))
        self.assertLess(more.noise, 0.02, "more rounds, less noise")
        self.assertTrue(more.slower(compare.LIMIT))

    def test_too_few_rounds(self):
        with self.assertRaisesRegex(ValueError, "at least 3 rounds"):
            compare.compare([(1.0, 1.0, 1.0)] * 2)


if __name__ == "__main__":
    unittest.main()
