"""Laws of ONNX files: the same pixels as PyTorch, and a clear line for a file that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.models.contract import UpscalerContract
from tests.support.networks import make_small_network, make_small_spec
from tests.support.samples import make_noise, upscale_pixels
from wsisr.bounds import MAX_ONNX_BYTES
from wsisr.errors import DeviceError, ModelError, OptionError, OutputError
from wsisr.imaging.geometry import Size
from wsisr.models.catalog import find_model
from wsisr.models.loading import load_upscaler
from wsisr.models.spec import ModelSpec
from wsisr.models.upscaler import Upscaler
from wsisr.models.weights import build_network, save_weights
from wsisr.upscaling.plan import UpscaleOptions, training_range_warning

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from wsisr.models.backends.onnx_file import RECEPTIVE_FIELD_KEY, read_onnx  # noqa: E402

SPEC = ModelSpec("masrgan", 2, 8, 1, 5, (0.5, 1))
TILES = np.stack([make_noise(Size(20, 15), seed) for seed in range(3)])
ANY: tuple[str | int, ...] = ("n", 3, "h", "w")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shipped model, exported once."""
    pytest.importorskip("onnxscript")
    from wsisr.models.onnx_export import export_onnx

    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    found = export_onnx(find_model("masrgan-x2"), path)
    assert max(each.largest for each in found) < 0.01
    return path


def test_a_network_of_cells_is_exported_for_any_size(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from wsisr.models.onnx_export import export_onnx

    network, spec = make_small_network("half"), make_small_spec("half")
    save_weights(tmp_path / "half.safetensors", spec, network.state_dict())
    export_onnx(find_model(str(tmp_path / "half.safetensors")), tmp_path / "half.onnx")
    upscaler = load_upscaler(tmp_path / "half.onnx", scale=2, device="cpu")
    assert upscaler.info.cell_px == 2
    in_torch = load_upscaler(tmp_path / "half.safetensors", scale=2, device="cpu", precision="fp32")
    for side in (20, 21, 33):
        tile = make_noise(Size(side, 26 - side % 2))[None]
        assert np.abs(upscaler(tile).astype(int) - in_torch(tile)).max() <= 1


def write_onnx(path: Path, nodes: list[Any] | None = None, shape: tuple[str | int, ...] = ANY, **metadata: str) -> Path:
    """A small file: nearest neighbour unless told otherwise, with the metadata of a sound one unless told otherwise."""
    nodes = nodes or [
        onnx.helper.make_node(
            "Resize", ["x", "", "factors"], ["y"], coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )
    ]
    floats = onnx.TensorProto.FLOAT
    factors = onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "factors")
    x, y = (onnx.helper.make_tensor_value_info(name, floats, sides) for name, sides in (("x", shape), ("y", None)))
    graph = onnx.helper.make_graph(nodes, "test", [x], [y], [factors])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    known = {"wsisr.spec": SPEC.to_json(), RECEPTIVE_FIELD_KEY: "1"} | {
        f"wsisr.{key}": text for key, text in metadata.items()
    }
    onnx.helper.set_model_props(model, known)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("name", ["height", "width"])
def test_names_that_are_no_text_are_refused(tmp_path: Path, name: str) -> None:
    path = write_onnx(tmp_path / "a.onnx", shape=("n", 3, "height", "width"))
    path.write_bytes(path.read_bytes().replace(name.encode(), b"\xdb" + name[1:].encode()))
    with pytest.raises(ModelError, match=r"a\.onnx: holds names that are no text; export it again"):
        load_upscaler(path, scale=2, device="cpu")


class TestOnnxUpscaler(UpscalerContract):
    tolerance = 1

    @pytest.fixture(scope="class", params=["exported", "repeat", "third party", "one by one"])
    @classmethod
    def upscaler(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Upscaler:
        path = tmp_path_factory.mktemp("onnx") / "a.onnx"
        if request.param == "exported":
            path = request.getfixturevalue("exported")
        elif request.param == "repeat":
            write_onnx(path)
        else:
            write_third_party_onnx(path, shape=ANY if request.param == "third party" else (1, 3, "h", "w"))
        return load_upscaler(path, scale=2, device="cpu")


def test_pixels_come_back_as_they_went_in(tmp_path: Path) -> None:
    upscaler = load_upscaler(write_onnx(tmp_path / "repeat.onnx"), scale=2, device="cpu")
    np.testing.assert_array_equal(upscaler(TILES), TILES.repeat(2, axis=1).repeat(2, axis=2))
    assert (upscaler.info.name, upscaler.info.scale, upscaler.info.receptive_field) == ("repeat.onnx", 2, 1)


def test_an_exported_model_shows_what_pytorch_shows(exported: Path) -> None:
    theirs = load_upscaler(exported, scale=2, device="cpu")
    ours = load_upscaler("masrgan-x2", scale=2, device="cpu", precision="fp32")
    picture = make_noise(Size(90, 70))
    picture[:, 40:] = 240 + picture[:, 40:] % 7
    assert theirs.info.receptive_field == ours.info.receptive_field
    assert ours.info.weights is not None
    assert theirs.info.weights is not None
    assert theirs.info.weights.spec == ours.info.weights.spec
    assert np.abs(theirs(picture[None]).astype(int) - ours(picture[None])).max() <= 1


def test_an_exported_model_obeys_the_tile_law(exported: Path) -> None:
    upscaler, picture = load_upscaler(exported, scale=2, device="cpu"), make_noise(Size(300, 170))
    whole, cut = (upscale_pixels(picture, upscaler, UpscaleOptions(tile_px=tile, batch=2)) for tile in (512, 128))
    assert np.abs(whole.astype(int) - cut).max() <= 1


def test_an_mmsrnet_is_exported_with_the_pixels_of_its_trunk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("onnxscript")
    from wsisr.models.onnx_export import export_onnx

    save_weights(tmp_path / "joint.safetensors", make_small_spec("mmsrnet"), make_small_network("mmsrnet").state_dict())
    found = export_onnx(find_model(tmp_path / "joint.safetensors"), tmp_path / "joint.onnx")
    assert "Skipping constant folding" not in caplog.text
    assert max(each.largest for each in found) < 0.1
    upscaler = load_upscaler(tmp_path / "joint.onnx", scale=2, device="cpu")
    ours = load_upscaler(tmp_path / "joint.safetensors", scale=2, device="cpu", precision="fp32")
    assert np.abs(upscaler(TILES).astype(int) - ours(TILES)).max() <= 1


def test_half_precision_is_near(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from wsisr.models.onnx_export import export_onnx

    torch.manual_seed(0)
    network = build_network(SPEC)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_weights(tmp_path / "small.safetensors", SPEC, network.state_dict())
    found = export_onnx(find_model(tmp_path / "small.safetensors"), tmp_path / "half.onnx", half=True)
    assert 0 < max(each.largest for each in found) < 1
    assert max(each.mean for each in found) < 0.1
    kinds = {tensor.data_type for tensor in onnx.load(tmp_path / "half.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds


def test_half_precision_that_shows_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from wsisr.models.onnx_export import export_onnx

    torch.manual_seed(0)
    network = build_network(SPEC)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=2)
    save_weights(tmp_path / "wild.safetensors", SPEC, network.state_dict())
    with pytest.raises(ModelError, match=r"differs by .* grey levels from PyTorch; nothing is written"):
        export_onnx(find_model(tmp_path / "wild.safetensors"), tmp_path / "half.onnx", half=True)
    assert not (tmp_path / "half.onnx").exists()


def test_nothing_that_exists_is_replaced_unasked(exported: Path) -> None:
    from wsisr.models.onnx_export import export_onnx

    with pytest.raises(OutputError, match="exists already"):
        export_onnx(find_model("masrgan-x2"), exported)


def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError, match="not a whole ONNX file"):
        load_upscaler(path, scale=2)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "a.onnx")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelError, match=r"a\.onnx: "):
        load_upscaler(path, scale=2)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        load_upscaler(tmp_path / "none.onnx", scale=2)


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(MAX_ONNX_BYTES + 1)  # sparse
    with pytest.raises(ModelError, match="larger than"):
        load_upscaler(path, scale=2)


def write_third_party_onnx(path: Path, **written_as: Any) -> Path:
    """The same small file, telling nothing of itself."""
    model = onnx.ModelProto.FromString(write_onnx(path, **written_as).read_bytes())
    del model.metadata_props[:]
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("shape", [ANY, (1, 3, "h", "w")])
def test_a_file_that_tells_nothing_of_itself_is_tried_out_and_that_is_said(
    tmp_path: Path, shape: tuple[str | int, ...]
) -> None:
    upscaler = load_upscaler(write_third_party_onnx(tmp_path / "a.onnx", shape=shape), scale=2, device="cpu")
    np.testing.assert_array_equal(upscaler(TILES), TILES.repeat(2, axis=1).repeat(2, axis=2))
    assert (upscaler.info.scale, upscaler.info.receptive_field) == (2, 0)
    assert "has no metadata; measured: input range 0 to 1, receptive field 0 px" in upscaler.warnings[0]
    assert "not from wsisr" in (training_range_warning(upscaler, 0.5) or "")
    with pytest.raises(OptionError, match="by 2, not by 4"):
        load_upscaler(tmp_path / "a.onnx", scale=4, device="cpu")


def test_half_precision_at_both_ends_is_taken(tmp_path: Path) -> None:
    model = onnx.ModelProto.FromString(write_third_party_onnx(tmp_path / "a.onnx").read_bytes())
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    upscaler = load_upscaler(tmp_path / "a.onnx", scale=2, device="cpu")
    np.testing.assert_array_equal(upscaler(TILES), TILES.repeat(2, axis=1).repeat(2, axis=2))


def test_an_exported_model_that_lost_its_words_shows_the_same(exported: Path, tmp_path: Path) -> None:
    model = onnx.ModelProto.FromString(exported.read_bytes())
    del model.metadata_props[:]
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    ours, theirs = (load_upscaler(path, scale=2, device="cpu") for path in (exported, tmp_path / "a.onnx"))
    assert 0 < theirs.info.receptive_field <= ours.info.receptive_field
    np.testing.assert_array_equal(theirs(TILES), ours(TILES))


def test_a_file_that_reaches_for_others_is_refused(tmp_path: Path) -> None:
    model = onnx.ModelProto.FromString(write_onnx(tmp_path / "a.onnx").read_bytes())
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "/etc/hostname")
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="other files"):
        load_upscaler(tmp_path / "a.onnx", scale=2)


def make_external() -> Any:
    tensor = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "t")
    onnx.external_data_helper.set_external_data(tensor, "/etc/hostname")
    return tensor


def make_node_with(name: str, value: Any) -> Any:
    node = onnx.helper.make_node("Constant", [], ["c"])
    attribute = node.attribute.add(name=name)
    field = getattr(attribute, {"value": "t", "values": "tensors", "sparse_value": "sparse_tensor", "body": "g"}[name])
    if name == "values":
        field.append(value)
    else:
        field.CopyFrom(value)
    return node


def make_graph_with(*nodes: Any, sparse: Any = None) -> Any:
    return onnx.helper.make_graph(list(nodes), "inner", [], [], sparse_initializer=[sparse] if sparse else None)


def make_sparse() -> Any:
    return onnx.SparseTensorProto(values=make_external(), dims=[1])


REFERENCES: dict[str, Callable[[Any], None]] = {
    "initializer": lambda model: model.graph.initializer.append(make_external()),
    "sparse initializer": lambda model: model.graph.sparse_initializer.append(make_sparse()),
    "attribute": lambda model: model.graph.node.append(make_node_with("value", make_external())),
    "list of an attribute": lambda model: model.graph.node.append(make_node_with("values", make_external())),
    "sparse attribute": lambda model: model.graph.node.append(make_node_with("sparse_value", make_sparse())),
    "subgraph": lambda model: model.graph.node.append(
        make_node_with("body", make_graph_with(make_node_with("body", make_graph_with(sparse=make_sparse()))))
    ),
    "function": lambda model: model.functions.append(
        onnx.FunctionProto(name="f", domain="d", node=[make_node_with("value", make_external())])
    ),
    "default of a function": lambda model: model.functions.append(
        onnx.FunctionProto(name="f", domain="d", attribute_proto=make_node_with("value", make_external()).attribute)
    ),
    "training": lambda model: model.training_info.add().algorithm.CopyFrom(make_graph_with(sparse=make_sparse())),
}


@pytest.mark.parametrize("place", REFERENCES)
def test_tensors_in_other_files_are_refused_wherever_they_are_referred_to(tmp_path: Path, place: str) -> None:
    model = onnx.ModelProto.FromString(write_onnx(tmp_path / "a.onnx").read_bytes())
    REFERENCES[place](model)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="stores tensors in other files"):
        read_onnx(tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("operator", "domain", "words"),
    [("EPContext", "com.microsoft", "compiled"), ("Loop", "", "without end"), ("Scan", "", "without end")],
)
def test_compiled_code_and_loops_are_refused_also_within_others(
    tmp_path: Path, operator: str, domain: str, words: str
) -> None:
    inner = onnx.helper.make_node(operator, ["x"], ["y"], domain=domain)
    model = onnx.ModelProto.FromString(write_onnx(tmp_path / "a.onnx").read_bytes())
    model.graph.node.append(make_node_with("body", make_graph_with(inner)))
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=words):
        read_onnx(tmp_path / "a.onnx")


def test_an_array_far_larger_than_the_picture_is_refused_before_it_is_made(tmp_path: Path) -> None:
    sides = onnx.numpy_helper.from_array(np.array([100_000, 100_000], np.int64))
    nodes = [
        onnx.helper.make_node("Constant", [], ["sides"], value=sides),
        onnx.helper.make_node("ConstantOfShape", ["sides"], ["large"]),
        onnx.helper.make_node("ReduceMax", ["large"], ["most"], keepdims=0),
        onnx.helper.make_node("Resize", ["x", "", "factors"], ["z"], mode="nearest"),
        onnx.helper.make_node("Add", ["z", "most"], ["y"]),
    ]
    with pytest.raises(ModelError, match="needs an array of 40 GB for a picture of 64 px"):
        read_onnx(write_onnx(tmp_path / "a.onnx", nodes))


@pytest.mark.parametrize("context", ["", "-1", "1e3", "99999", "9" * 5000])
def test_a_context_that_cannot_be_is_refused(tmp_path: Path, context: str) -> None:
    with pytest.raises(ModelError, match="receptive field"):
        read_onnx(write_onnx(tmp_path / "a.onnx", context=context))


def test_a_spec_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="model spec is not readable"):
        read_onnx(write_onnx(tmp_path / "a.onnx", spec="{}"))


def test_another_scale_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="by 2, not by 4"):
        load_upscaler(write_onnx(tmp_path / "a.onnx"), scale=4)


def test_a_network_of_another_scale_than_it_says_is_refused(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    with pytest.raises(ModelError, match="is due"):
        load_upscaler(write_onnx(tmp_path / "a.onnx", [node]), scale=2)


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), ("n", 1, "h", "w"), ("n", 3, "h"), ("n", 3, 48, "w")])
def test_a_network_of_fixed_or_other_shape_is_refused(tmp_path: Path, shape: tuple[str | int, ...]) -> None:
    with pytest.raises(ModelError, match=r"a\.onnx: "):
        load_upscaler(write_onnx(tmp_path / "a.onnx", shape=shape), scale=2, device="cpu")


def test_an_operator_of_a_library_is_refused(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Anything", ["x"], ["y"], domain="com.example")
    with pytest.raises(ModelError, match="cannot run it"):
        load_upscaler(write_onnx(tmp_path / "a.onnx", [node]), scale=2, device="cpu")


def test_values_that_are_no_numbers_are_never_pixels(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("Resize", ["x", "", "factors"], ["z"], mode="nearest"),
        onnx.helper.make_node("Log", ["z"], ["y"]),
    ]
    upscaler = load_upscaler(write_onnx(tmp_path / "a.onnx", nodes), scale=2, device="cpu")
    with pytest.raises(ModelError, match="NaN or infinity"):
        upscaler(np.zeros_like(TILES))


@pytest.mark.parametrize("device", ["cuda:x", "cpu:1", "quantum"])
def test_a_device_that_cannot_be_is_refused(tmp_path: Path, device: str) -> None:
    with pytest.raises(DeviceError, match="choose auto"):
        load_upscaler(write_onnx(tmp_path / "a.onnx"), scale=2, device=device)


@pytest.mark.parametrize("device", ["cuda", "tensorrt:1"])
def test_a_device_that_is_not_there_is_never_replaced_by_another(tmp_path: Path, device: str) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has it")
    with pytest.raises(DeviceError, match="built without"):
        load_upscaler(write_onnx(tmp_path / "a.onnx"), scale=2, device=device)


def test_a_precision_is_not_for_onnx(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="its own precision"):
        load_upscaler(write_onnx(tmp_path / "a.onnx"), scale=2, precision="bf16")
