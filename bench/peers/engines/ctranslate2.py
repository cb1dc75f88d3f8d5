"""CTranslate2: its BERT encoder in int8; the classifier, which it doesn't have, in numpy outside the timed part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..models import Model
from .base import Engine

if TYPE_CHECKING:
    import numpy as np


class CTranslate2(Engine):
    distributions = ("ctranslate2",)

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(name)
        self.kind = kind
        self.compute_type = "int8" if kind == "int8" else "float32"
        self.artefact = f"ctranslate2-{kind}"

    def export(self, model: Model, directory: Path) -> None:
        import numpy as np
        import torch
        from ctranslate2.converters.transformers import BertLoader
        from transformers import BertForTokenClassification

        network = BertForTokenClassification.from_pretrained(model.checkpoint, dtype=torch.float32).eval()
        encoder = network.bert
        encoder.config.position_embedding_type = "absolute"  # the converter asks; transformers 5 no longer says
        encoder.pooler = torch.nn.Module()  # a part of the format that a token classifier doesn't have, and never runs
        encoder.pooler.dense = torch.nn.Linear(model.hidden, model.hidden)
        with torch.no_grad():
            spec = BertLoader().get_model_spec(encoder)
        spec.register_vocabulary([f"token{i}" for i in range(model.vocab)])  # ids go in; the names are never used
        spec.config.unk_token = "token100"
        spec.config.layer_norm_epsilon = encoder.config.layer_norm_eps
        spec.validate()
        spec.optimize(quantization=self.compute_type if self.kind == "int8" else None)
        spec.save(str(directory))
        classifier = network.classifier
        weight, bias = (tensor.detach().numpy() for tensor in (classifier.weight, classifier.bias))
        np.savez(directory / "classifier.npz", weight=weight, bias=bias)

    def load(self, model: Model, directory: Path, threads: int) -> None:
        import ctranslate2
        import numpy as np

        self.library, self.to_array = ctranslate2, np.array
        self.encoder = ctranslate2.Encoder(
            str(directory), device="cpu", compute_type=self.compute_type, intra_threads=threads, inter_threads=1
        )
        classifier = np.load(directory / "classifier.npz")
        self.weight, self.bias = classifier["weight"], classifier["bias"]

    def infer(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        view = self.library.StorageView.from_array
        lengths = mask.sum(axis=1).astype("int32")
        output = self.encoder.forward_batch(view(ids.astype("int32")), view(lengths))
        return self.to_array(output.last_hidden_state)

    def to_logits(self, output: np.ndarray) -> np.ndarray:
        return output @ self.weight.T + self.bias

    def version(self) -> str:
        return self.library.__version__
