#!/usr/bin/env python3
"""The polynomial of gelu (kernels/numerics.h): P of degree 5 with u P(u)^8 nearest to u Phi(-u), u in [0, CLAMP].

gelu(x) = max(0, x) - u Phi(-u), u = |x|. Prints P's coefficients, lowest first, the fit's largest error, and P at the
clamp, which has to be small (there gelu becomes x or 0) and above 2^-15 (so that P^8 is not subnormal).

Minimax: the largest of |u P^8 - u Phi(-u)| is linear in small changes of P's coefficients, so each step is a linear
program with a limit on the change, which grows with success and shrinks with failure.

Needs NumPy and SciPy; nothing in the product or its tests does. Usage: fit_gelu.py [DEGREE [SQUARINGS]]
"""
import argparse
import sys

import numpy as np
from numpy.polynomial import Polynomial, chebyshev
from scipy.optimize import linprog
from scipy.special import log_ndtr, ndtr

CLAMP = 5.75
POINTS = 2000


def fit(degree, squarings):
    power = 2**squarings
    t = -np.cos(np.linspace(0, np.pi, POINTS))  # P is fitted as a sum of Chebyshev polynomials of t
    u = (t + 1) / 2 * CLAMP
    basis = chebyshev.chebvander(t, degree)
    root = np.exp(log_ndtr(-u) / power)
    slope = u * power * root ** (power - 1)  # what an error of P there does to u P^power
    coefficients = np.linalg.lstsq(basis * slope[:, None], root * slope, rcond=None)[0]

    def error(c):
        return u * (basis @ c) ** power - u * ndtr(-u)

    best, limit = np.abs(error(coefficients)).max(), 0.02
    while limit > 1e-9:
        jacobian = (u * power * (basis @ coefficients) ** (power - 1))[:, None] * basis
        column = -np.ones((POINTS, 1))
        e = error(coefficients)
        step = linprog(np.r_[np.zeros(degree + 1), 1.0],
                       A_ub=np.vstack([np.hstack([jacobian, column]), np.hstack([-jacobian, column])]) * 1e6,
                       b_ub=np.r_[-e, e] * 1e6, bounds=[(-limit, limit)] * (degree + 1) + [(0, None)]).x
        if step is None:
            sys.exit("the linear program has no solution")
        changed = coefficients + step[:-1]
        largest = np.abs(error(changed)).max()
        if largest < best:
            coefficients, best, limit = changed, largest, limit * 1.3
        else:
            limit /= 2
    return Polynomial(chebyshev.cheb2poly(coefficients))(Polynomial([-1, 2 / CLAMP])), best


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("degree", type=int, nargs="?", default=5)
    parser.add_argument("squarings", type=int, nargs="?", default=3)
    arguments = parser.parse_args()
    p, largest = fit(arguments.degree, arguments.squarings)
    print("P", *(float(np.float32(c)).hex() for c in p.coef))
    print(f"largest error {largest:.3g}, P({CLAMP}) = {p(CLAMP):.3g}")
