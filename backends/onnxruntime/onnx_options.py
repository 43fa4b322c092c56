"""What a configuration says about how onnxruntime is to run a model."""

from __future__ import annotations

import os
from typing import Any, Dict, List

import onnxruntime

_LEVELS = {
    "disable": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
# optimization.graph.level, as the documentation of Triton's backend has it.
_GRAPH_LEVELS = {-1: "basic", 0: "all", 1: "extended", 2: "all"}
_MODES = {
    "0": onnxruntime.ExecutionMode.ORT_SEQUENTIAL,
    "1": onnxruntime.ExecutionMode.ORT_PARALLEL,
    "sequential": onnxruntime.ExecutionMode.ORT_SEQUENTIAL,
    "parallel": onnxruntime.ExecutionMode.ORT_PARALLEL,
}
_SWITCHES = {"0": False, "1": True, "false": False, "true": True}
_ACCELERATORS = {
    "openvino": "OpenVINOExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "dnnl": "DnnlExecutionProvider",
}


def session_options(name: str, config: Dict[str, Any]) -> onnxruntime.SessionOptions:
    """Return what `parameters` and `optimization` of a configuration say. ValueError for what they can't.

    Where they don't say it, the instances of the model share the CPUs: each gets as many threads as are its share.
    """
    options = onnxruntime.SessionOptions()
    given = {key: entry.get("string_value", "") for key, entry in config.get("parameters", {}).items()}
    options.intra_op_num_threads = _number(name, given, "intra_op_thread_count", _share(config))
    options.inter_op_num_threads = _number(name, given, "inter_op_thread_count", 0)
    level = config.get("optimization", {}).get("graph", {}).get("level", 0)
    if level not in _GRAPH_LEVELS:
        raise ValueError(f"model '{name}': optimization.graph.level is {level}, expected -1, 0, 1 or 2")
    choice = given.get("graph_optimization_level", _GRAPH_LEVELS[level])
    options.graph_optimization_level = _one_of(name, "graph_optimization_level", choice, _LEVELS)
    if "execution_mode" in given:
        options.execution_mode = _one_of(name, "execution_mode", given["execution_mode"], _MODES)
    for key, attribute in (("enable_mem_arena", "enable_cpu_mem_arena"), ("enable_mem_pattern", "enable_mem_pattern")):
        if key in given:
            setattr(options, attribute, _one_of(name, key, given[key], _SWITCHES))
    for key, value in given.items():
        if key.startswith("session."):
            options.add_session_config_entry(key, value)
    return options


def _share(config: Dict[str, Any]) -> int:
    groups = config.get("instance_group", [])
    instances = sum(int(group.get("count", 1)) for group in groups if not group.get("passive"))
    return max(1, len(os.sched_getaffinity(0)) // max(1, instances))


def _number(name: str, given: Dict[str, str], key: str, default: int) -> int:
    text = given.get(key, str(default))
    if not text.isdecimal() or int(text) > 1024:
        raise ValueError(f"model '{name}': parameter '{key}' is '{text}', expected a number from 0 to 1024")
    return int(text)


def _one_of(name: str, key: str, text: str, choices: Dict[str, Any]) -> Any:
    if text.lower() not in choices:
        raise ValueError(f"model '{name}': parameter '{key}' is '{text}', expected one of {', '.join(choices)}")
    return choices[text.lower()]


def providers(name: str, config: Dict[str, Any], args: Dict[str, str]) -> List[Any]:
    """Return the execution providers, the first choice first. ValueError for one that this onnxruntime lacks."""
    kind = "gpu" if args.get("model_instance_kind") == "GPU" else "cpu"
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    chosen: List[Any] = []
    for entry in accelerators.get(f"{kind}_execution_accelerator", []):
        provider = _one_of(name, f"{kind}_execution_accelerator", entry["name"], _ACCELERATORS)
        chosen.append((provider, dict(entry.get("parameters", {}))))
    if kind == "gpu":
        chosen.append(("CUDAExecutionProvider", {"device_id": args.get("model_instance_device_id", "0")}))
    available = onnxruntime.get_available_providers()
    for provider, _ in chosen:
        if provider not in available:
            raise ValueError(
                f"model '{name}': onnxruntime {onnxruntime.__version__} has no {provider}, only {', '.join(available)}"
            )
    return [*chosen, "CPUExecutionProvider"]
