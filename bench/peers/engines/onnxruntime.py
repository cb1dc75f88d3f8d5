"""ONNX Runtime: graph fused by its transformer optimizer, int8 by its dynamic quantization."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..models import Model
from .base import Engine
from .onnx_model import feeds, path_in

if TYPE_CHECKING:
    import numpy as np

FLOAT = 1  # onnx.TensorProto.FLOAT


class OnnxRuntime(Engine):
    distributions = ("onnxruntime",)
    needs_onnx = True

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(name)
        self.kind = kind
        self.artefact = f"onnxruntime-{kind}"

    def export(self, model: Model, directory: Path) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.transformers import optimizer

        source = path_in(directory.parent)
        fused = optimizer.optimize_model(
            source, model_type="bert", num_heads=model.heads, hidden_size=model.hidden, opt_level=0
        )
        attention = fused.get_fused_operator_statistics().get("Attention", 0)
        if attention != model.layers:
            raise RuntimeError(f"the optimizer fused attention in {attention} of {model.layers} layers")
        path = directory / "model.onnx"
        if self.kind == "float":
            fused.save_model_to_file(str(path))
            return
        between = directory / "float.onnx"
        fused.save_model_to_file(str(between))
        quantize_dynamic(
            str(between),
            str(path),
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": FLOAT},
        )
        between.unlink()

    def load(self, model: Model, directory: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        path = str(directory / "model.onnx")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.types = {port.name: "int32" if "int32" in port.type else "int64" for port in self.session.get_inputs()}

    def infer(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        inputs = feeds(ids, mask)
        wanted = {name: inputs[name].astype(kind, copy=False) for name, kind in self.types.items()}
        return self.session.run(None, wanted)[0]

    def version(self) -> str:
        import onnxruntime

        return onnxruntime.__version__
