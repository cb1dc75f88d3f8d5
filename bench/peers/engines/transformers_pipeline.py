"""transformers.pipeline("token-classification"), as its documentation shows it. Text in, entities out; no cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..models import TOKENIZER, Model
from .base import Engine, time_repetitions


class TransformersPipeline(Engine):
    kind = "pipeline"
    artefact = "pytorch"
    distributions = ("torch", "transformers")

    def export(self, model: Model, directory: Path) -> None:
        """Nothing to export: it loads the checkpoint."""

    def load(self, model: Model, directory: Path, threads: int) -> None:
        import torch
        import transformers

        torch.set_num_threads(threads)
        specials = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "pad", "cls", "sep", "mask")}
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(TOKENIZER), **specials)
        network = transformers.BertForTokenClassification.from_pretrained(model.checkpoint, dtype=torch.float32).eval()
        self.library = transformers
        self.pipeline = transformers.pipeline(
            "token-classification", model=network, tokenizer=tokenizer, device="cpu", aggregation_strategy="simple"
        )

    def version(self) -> str:
        return self.library.__version__

    def text_pipeline(self, model: Model) -> Any:
        return self

    def call(self, batch: list[str]) -> list[list[dict]]:
        return self.pipeline(batch, batch_size=len(batch))

    def time(self, handed_over: list[list[str]], seconds: float, first_turn: bool) -> dict[str, float]:
        return time_repetitions(lambda: [self.call(batch) for batch in handed_over], seconds, first_turn)
