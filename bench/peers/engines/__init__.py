"""The modes that are measured, by name."""

from __future__ import annotations

from typing import Callable

from . import octobert
from .base import Engine
from .ctranslate2 import CTranslate2
from .octobert import Octobert
from .onnxruntime import OnnxRuntime
from .openvino import OpenVino
from .pytorch import PyTorch
from .transformers_pipeline import TransformersPipeline

_MAKERS: dict[str, Callable[[str], Engine]] = {
    "octobert": lambda name: Octobert(name, "int8", "dynamic"),
    "openvino": lambda name: OpenVino(name, "int8", "f32"),
    "openvino-bf16": lambda name: OpenVino(name, "int8", "bf16"),
    "openvino-fixed": lambda name: OpenVino(name, "int8", "f32", any_shape=False),
    "onnxruntime": lambda name: OnnxRuntime(name, "int8"),
    "ctranslate2": lambda name: CTranslate2(name, "int8"),
    "pytorch": lambda name: PyTorch(name, "int8", "x86"),
    "pytorch-onednn": lambda name: PyTorch(name, "int8", "onednn"),
    "octobert-weight-only": lambda name: Octobert(name, "float", "weight-only"),
    "octobert-float": lambda name: Octobert(name, "float", "float"),
    "openvino-float": lambda name: OpenVino(name, "float", "f32"),
    "onnxruntime-float": lambda name: OnnxRuntime(name, "float"),
    "ctranslate2-float": lambda name: CTranslate2(name, "float"),
    "pytorch-float": lambda name: PyTorch(name, "float"),
    "transformers-pipeline": TransformersPipeline,
}

# Measured unless --engines says otherwise. The other modes were slower than their engine's best one.
INT8 = ("octobert", "openvino", "openvino-bf16", "openvino-fixed", "onnxruntime", "ctranslate2", "pytorch")
FLOAT = ("octobert-weight-only", "octobert-float", "openvino-float", "onnxruntime-float", "ctranslate2-float",
         "pytorch-float")  # fmt: skip
# Settings that hold engines to an instruction set, and the modes that obey them.
HOLDS: dict[str, dict[str, str]] = {
    "": {},
    # CTranslate2 multiplies by MKL on Intel's processors, which would go on with VNNI.
    "avx2": {
        "OCTOBERT_ISA": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "CT2_FORCE_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "avx_vnni": {"OCTOBERT_ISA": "avx_vnni"},
}
HELD = {"avx2": ("octobert", "octobert-float", "openvino", "ctranslate2"), "avx_vnni": ("octobert",)}

# Peers that are not in the tables, and why. Printed with every report.
LEFT_OUT: dict[str, str] = {
    "llama.cpp": "its Python binding, llama-cpp-python, has no wheel on PyPI (only sources to compile)",
    "ONNX Runtime and PyTorch held to AVX2": "no variable of theirs holds every one of their int8 kernels to AVX2",
}

NAMES = tuple(_MAKERS)


def make(name: str) -> Engine:
    if name not in _MAKERS:
        raise ValueError(f"no engine named {name!r}; there are {', '.join(NAMES)}")
    return _MAKERS[name](name)
