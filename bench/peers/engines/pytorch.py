"""PyTorch: the transformers model in float, or with its dynamic int8 linear layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..models import Model
from .base import Engine

if TYPE_CHECKING:
    import numpy as np


class PyTorch(Engine):
    distributions = ("torch", "transformers")
    artefact = "pytorch"

    def __init__(self, name: str, kind: str, backend: str = "") -> None:
        """backend: of the int8 products, "x86" or "onednn"."""
        super().__init__(name)
        self.kind, self.backend = kind, backend

    def export(self, model: Model, directory: Path) -> None:
        """Nothing to export: it loads the checkpoint and quantizes at each start."""

    def shipped_bytes(self, model: Model, directory: Path) -> int:
        return sum(path.stat().st_size for path in model.checkpoint.glob("*.safetensors"))

    def load(self, model: Model, directory: Path, threads: int) -> None:
        import torch
        from transformers import BertForTokenClassification

        torch.set_num_threads(threads)
        self.torch = torch
        network = BertForTokenClassification.from_pretrained(
            model.checkpoint, dtype=torch.float32, attn_implementation="sdpa"
        ).eval()
        if self.kind == "int8":
            from torch.ao import quantization

            torch.backends.quantized.engine = self.backend
            per_channel = {torch.nn.Linear: quantization.per_channel_dynamic_qconfig}
            network = quantization.quantize_dynamic(network, per_channel, dtype=torch.qint8)
        self.network = network

    def infer(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with self.torch.inference_mode():
            tensors = (self.torch.from_numpy(array) for array in (ids, mask))
            ids_tensor, mask_tensor = tensors
            return self.network(input_ids=ids_tensor, attention_mask=mask_tensor).logits.numpy()

    def version(self) -> str:
        return self.torch.__version__
