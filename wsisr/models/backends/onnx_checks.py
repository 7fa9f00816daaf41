"""What an ONNX file may not do: refer to other files, run without end, or ask for memory far beyond its own size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from wsisr.bounds import MAX_ONNX_TENSOR_BYTES
from wsisr.errors import ModelError

_ENDLESS_OPERATORS = ("Loop", "Scan")
"""Operators that repeat others as often as a number in the file says; networks for pictures have none."""

_CACHED_ENGINE = "EPContext"
"""Operator whose content is compiled code, which may lie in another file."""

_KEPT_DATA_BYTES = 4096
"""Bytes of a constant that shapes may depend on; larger ones are weights."""

_INPUT_SHAPE = (1, 3, 64, 64)
"""Input for which the arrays of a network are measured."""

_VALUE_BYTES = 4


def refuse_other_files(model: Any) -> None:
    """Raise `ModelError` where anything in a model stores tensors in other files, or is compiled code.

    Tensors may lie anywhere: in graphs, attributes, functions, sparse tensors, in the graphs of attributes, and in
    what only training needs.
    """
    for message in iterate_messages(model):
        kind = message.DESCRIPTOR.name
        if kind == "TensorProto" and (message.external_data or message.data_location == message.EXTERNAL):
            raise ModelError("stores tensors in other files; export it again as one file")
        if kind == "NodeProto" and message.op_type == _CACHED_ENGINE:
            raise ModelError("holds code compiled for one device; export the network itself")


def refuse_excessive_claims(model: Any) -> None:
    """Raise `ModelError` where a model repeats operators, or one of its arrays is far larger than a picture needs.

    Arrays are those whose shape ONNX can tell. The weights of `model` are removed from it on the way.
    """
    for message in iterate_messages(model):
        if message.DESCRIPTOR.name == "NodeProto" and message.op_type in _ENDLESS_OPERATORS:
            raise ModelError(f"has the operator {message.op_type}, which may run without end; export it without")
    largest = max(map(_count_bytes, iterate_messages(_infer_shapes(model))), default=0)
    if largest > MAX_ONNX_TENSOR_BYTES:
        raise ModelError(
            f"needs an array of {largest / 1e9:.4g} GB for a picture of {_INPUT_SHAPE[3]} px; choose another network"
        )


def iterate_messages(message: Any) -> Iterator[Any]:
    """Yield a protobuf message and all messages in it."""
    waiting = [message]
    while waiting:
        current = waiting.pop()
        yield current
        for field in current.DESCRIPTOR.fields:
            if field.message_type is not None:
                value = getattr(current, field.name)
                if not hasattr(value, "DESCRIPTOR"):
                    waiting.extend(value)
                elif current.HasField(field.name):
                    waiting.append(value)


def _infer_shapes(model: Any) -> Any:
    """Return a model with the shapes of all arrays that ONNX can tell; of an invalid one, those in the file."""
    import onnx  # noqa: PLC0415 - an extra

    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > _KEPT_DATA_BYTES:
            tensor.ClearField("raw_data")  # a copy of all weights would be made
    for value in model.graph.input[:1]:
        sides = value.type.tensor_type.shape.dim
        for side, pixels in zip(sides, _INPUT_SHAPE, strict=False):
            if not side.dim_value:
                side.dim_value = pixels
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return model  # ONNX Runtime says what is wrong with it


def _count_bytes(message: Any) -> int:
    """Return the bytes of an array, or of the array that a type describes; 0 for other messages, and where unknown."""
    kind = message.DESCRIPTOR.name
    if kind == "TensorProto":
        return int(math.prod(message.dims)) * _VALUE_BYTES
    if kind == "TensorShapeProto":
        return int(math.prod(side.dim_value for side in message.dim)) * _VALUE_BYTES
    return 0
