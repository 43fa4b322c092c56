"""What a model may say of its own config: pb_utils.ModelConfig, the argument of auto_complete_config.

A model may fill in what its config leaves open and repeat what it says; contradicting it is a ValueError. The texts
keep Triton's words.
"""

from __future__ import annotations

from typing import Any

_INPUT = ("name", "data_type", "dims", "optional")
_OUTPUT = ("name", "data_type", "dims")
_OTHER_SCHEDULERS = ("sequence_batching", "ensemble_scheduling")


class ModelConfig:
    """A model's config, as the dict that its JSON form gives."""

    def __init__(self, model_config: dict[str, Any]) -> None:
        self._model_config = model_config
        self._name = model_config.get("name", "")

    def as_dict(self) -> dict[str, Any]:
        """The config; to be read, not changed."""
        return self._model_config

    def set_max_batch_size(self, max_batch_size: int) -> None:
        """Set the largest batch. ValueError if the config allows a larger one."""
        configured = self._model_config.get("max_batch_size", 0)
        if configured > max_batch_size:
            raise ValueError(
                f"configuration specified max_batch_size {configured}, but in auto-complete-config function for "
                f"model '{self._name}' specified max_batch_size {max_batch_size}"
            )
        self._model_config["max_batch_size"] = max_batch_size

    def set_dynamic_batching(self) -> None:
        """Choose the dynamic batcher. ValueError if the config chooses another scheduler."""
        for scheduler in _OTHER_SCHEDULERS:
            if scheduler in self._model_config:
                raise ValueError(
                    f"Configuration specified scheduling_choice as '{scheduler}', but auto-complete-config function "
                    f"for model '{self._name}' tries to set scheduling_choice as 'dynamic_batching'"
                )
        self._model_config.setdefault("dynamic_batching", {})

    def set_model_transaction_policy(self, transaction_policy_dict: dict[str, Any]) -> None:
        """Set `decoupled`. ValueError for other properties, and if the config says the opposite."""
        for key in transaction_policy_dict:
            if key != "decoupled":
                raise ValueError(
                    f"model transaction property in auto-complete-config function for model '{self._name}' contains "
                    "property other than 'decoupled'."
                )
        policy = self._model_config.setdefault("model_transaction_policy", {})
        if "decoupled" not in transaction_policy_dict:
            return
        decoupled = transaction_policy_dict["decoupled"]
        if policy.get("decoupled") and not decoupled:
            raise ValueError(
                f"trying to change decoupled property in auto-complete-config for model '{self._name}', which is "
                f"already set to '{policy['decoupled']}'."
            )
        policy["decoupled"] = decoupled

    def add_input(self, input: dict[str, Any]) -> None:
        """Add an input `{name, data_type, dims[, optional]}`, or complete the entry of that name."""
        self._add("input", input, _INPUT)

    def add_output(self, output: dict[str, Any]) -> None:
        """Add an output `{name, data_type, dims}`, or complete the entry of that name."""
        self._add("output", output, _OUTPUT)

    def _add(self, kind: str, tensor: dict[str, Any], allowed: tuple[str, ...]) -> None:
        self._check_properties(kind, tensor, allowed)
        entries = self._model_config.setdefault(kind, [])
        for entry in entries:
            if entry["name"] == tensor["name"]:
                self._check_agreement(kind, entry, tensor)
                entry.update(tensor)
                return
        entries.append(tensor)

    def _check_properties(self, kind: str, tensor: dict[str, Any], allowed: tuple[str, ...]) -> None:
        where = f"in auto-complete-config function for model '{self._name}'"
        label = f"{kind} '{tensor['name']}'" if "name" in tensor else kind
        if any(key not in allowed for key in tensor):
            quoted = [f"'{key}'" for key in allowed]
            listed = f"{', '.join(quoted[:-1])} and {quoted[-1]}"
            raise ValueError(f"{label} {where} contains property other than {listed}.")
        for key in _OUTPUT:
            if key not in tensor:
                raise ValueError(f"{label} {where} is missing '{key}' property.")

    def _check_agreement(self, kind: str, entry: dict[str, Any], tensor: dict[str, Any]) -> None:
        name = tensor["name"]
        datatype = entry.get("data_type", "TYPE_INVALID")
        if datatype not in ("TYPE_INVALID", tensor["data_type"]):
            raise ValueError(
                f"unable to load model '{self._name}', configuration expects datatype {datatype} for {kind} '{name}', "
                f"model provides {tensor['data_type']}"
            )
        for key in ("dims", "optional"):
            configured = entry.get(key)
            # An empty list of dims is one that the config leaves open; dims may come as any sequence of numbers.
            if key == "dims" and (not configured or _dims(configured) == _dims(tensor[key])):
                continue
            if configured is not None and key in tensor and configured != tensor[key]:
                raise ValueError(
                    f"model '{self._name}', tensor '{name}': the model expects {key} {tensor[key]} but the model "
                    f"configuration specifies {key} {configured}"
                )


def _dims(dims: Any) -> list[int]:
    # Integers are text in the config's JSON form.
    return [int(length) for length in dims]
