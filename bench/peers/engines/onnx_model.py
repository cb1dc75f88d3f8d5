"""The checkpoint as an ONNX graph of any shape: what OpenVINO and ONNX Runtime start from, and what calibrates them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Iterator

from ..models import Model

if TYPE_CHECKING:
    import numpy as np

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OPSET = 17
ARTEFACT, FILE = "onnx", "model.onnx"
# Lengths of the calibration sequences. All lengths that are measured: calibrated at one length alone, static models
# lose their accuracy at the others.
CALIBRATION_LENGTHS = (8, 16, 20, 25, 32, 48, 64, 96, 128, 128, 192, 256, 384, 384, 512, 512)
CALIBRATION_FILE = "calibration.jsonl"  # written beside the artefacts by artefacts.py: one array of ids a line


def export(model: Model, directory: Path) -> None:
    """Writes the float graph into the empty `directory`."""
    import torch
    from transformers import BertForTokenClassification

    network = BertForTokenClassification.from_pretrained(
        model.checkpoint, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    ids = torch.randint(1000, 2000, (2, 16))
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracer warns about every size that it writes into the graph
        torch.onnx.export(
            network,
            (ids, mask, torch.zeros_like(ids)),
            str(directory / FILE),
            input_names=list(INPUTS),
            output_names=["logits"],
            dynamic_axes={name: {0: "batch", 1: "length"} for name in (*INPUTS, "logits")},
            opset_version=OPSET,
            dynamo=False,
        )


def path_in(artefacts: Path) -> str:
    return str(artefacts / ARTEFACT / FILE)


def feeds(ids: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}


def calibration_feeds(artefacts: Path) -> Iterator[dict[str, np.ndarray]]:
    import numpy as np

    for line in (artefacts / CALIBRATION_FILE).read_text().splitlines():
        ids = np.array([json.loads(line)], np.int64)
        yield feeds(ids, np.ones_like(ids))
