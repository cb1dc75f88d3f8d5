"""OpenVINO: full int8 quantization by NNCF (calibrated), graphs of any shape or compiled for each shape."""

from __future__ import annotations

import collections
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ..models import Model
from .base import Engine
from .onnx_model import CALIBRATION_LENGTHS, calibration_feeds, feeds, path_in

if TYPE_CHECKING:
    import numpy as np


class OpenVino(Engine):
    distributions = ("openvino",)
    needs_onnx = True

    def __init__(self, name: str, kind: str, precision: str, any_shape: bool = True) -> None:
        """precision: of what is not in int8, "f32" or "bf16"."""
        super().__init__(name)
        self.kind, self.precision, self.any_shape = kind, precision, any_shape
        self.artefact = "openvino-int8" if kind == "int8" else "openvino-float"
        self.requests: dict[tuple[int, ...], tuple] = {}  # by input shape; one for all shapes under ()

    def export(self, model: Model, directory: Path) -> None:
        import openvino

        graph = openvino.convert_model(path_in(directory.parent))
        if self.kind == "int8":
            import nncf

            nncf.set_log_level(logging.ERROR)
            texts = nncf.Dataset(list(calibration_feeds(directory.parent)))
            graph = nncf.quantize(
                graph, texts, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(CALIBRATION_LENGTHS)
            )
        openvino.save_model(graph, str(directory / "model.xml"), compress_to_fp16=False)

    def load(self, model: Model, directory: Path, threads: int) -> None:
        import openvino

        self.core = openvino.Core()
        self.graph = self.core.read_model(str(directory / "model.xml"))
        self.options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": True,
            "INFERENCE_PRECISION_HINT": self.precision,
        }
        if self.any_shape:
            self.requests[()] = self._compile(self.graph)

    def _compile(self, graph) -> tuple:
        compiled = self.core.compile_model(graph, "CPU", self.options)
        return compiled, compiled.create_infer_request(), [port.any_name for port in compiled.inputs]

    def _request(self, shape: tuple[int, ...]) -> tuple:
        key = () if self.any_shape else shape
        if key not in self.requests:
            graph = self.graph.clone()
            graph.reshape({port.any_name: list(shape) for port in graph.inputs})
            self.requests[key] = self._compile(graph)
        return self.requests[key]

    def infer(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        _, request, names = self._request(ids.shape)
        inputs = feeds(ids, mask)
        request.infer({name: inputs[name] for name in names}, share_inputs=True)
        return request.get_output_tensor(0).data.copy()  # the next call overwrites it

    def version(self) -> str:
        import openvino

        return openvino.__version__

    def kernels(self) -> dict[str, int]:
        if not self.requests:
            return {}
        compiled = next(iter(self.requests.values()))[0]
        infos = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
        return dict(collections.Counter(info["primitiveType"].astype(str) for info in infos if "primitiveType" in info))
