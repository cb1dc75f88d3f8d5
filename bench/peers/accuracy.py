"""How far an engine's logits are from the float model's."""

from __future__ import annotations

import math

import numpy as np


def compare(logits: list[np.ndarray], reference: list[np.ndarray]) -> dict[str, float | None]:
    """Both: one [tokens, labels] array a sequence, in the same order. Cosines are per token, over the labels. The
    signal-to-noise ratio is None where there is no noise at all."""
    ours = np.concatenate(logits).astype(np.float64)
    exact = np.concatenate(reference).astype(np.float64)
    if ours.shape != exact.shape:
        raise ValueError(f"logits are {ours.shape}, the float reference's are {exact.shape}")
    if not np.isfinite(ours).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(ours))} logits are not finite")
    error = ours - exact
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(exact, axis=1)
    cosine = (ours * exact).sum(axis=1) / np.maximum(norms, 1e-30)
    noise = float((error**2).sum())
    return {
        "max_error": float(np.abs(error).max()),
        "max_logit": float(np.abs(exact).max()),
        "sqnr_db": 10 * math.log10(float((exact**2).sum()) / noise) if noise else None,
        "cosine_mean": float(cosine.mean()),
        "cosine_min": float(cosine.min()),
        "label_agreement": float((ours.argmax(axis=1) == exact.argmax(axis=1)).mean()),
    }
