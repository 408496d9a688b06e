"""Crafted ONNX graphs and safetensors files: links to foreign files, nested or hidden, and lying headers."""

import contextlib
import json
import struct

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from PESemiSegLib.errors import PackageError
from PESemiSegLib.models.graph import read_facts
from PESemiSegLib.models.package import read_package
from PESemiSegLib.models.tensors import read_spans


def linked_tensor(location: str, **places: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **places}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def refused(folder, pattern):
    with pytest.raises(PackageError, match=pattern) as caught:
        read_package(folder)
    assert "\n" not in str(caught.value)


def change_graph(edit):
    """A change for the `damaged` fixture: edit segmenter.onnx as a model."""

    def change(folder):
        path = folder / "segmenter.onnx"
        model = onnx.load(path, load_external_data=False)
        edit(model)
        path.write_bytes(model.SerializeToString())

    return change


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../../secret", "README.md", "discriminator.safetensors", "C:\\x", ""]
)
def test_link_to_another_file(damaged, location):
    edit = lambda model: model.graph.initializer.append(linked_tensor(location, offset="0", length="4"))  # noqa: E731
    refused(damaged(change_graph(edit)), "reaches for the file")


@pytest.mark.parametrize(
    ("offset", "length"), [("0", "8"), ("8", "4"), ("-4", "4"), ("99999999", "4"), ("x", "y")]
)
def test_link_into_the_own_weights_at_no_tensor(damaged, offset, length):
    def edit(model):
        model.graph.initializer.append(linked_tensor("segmenter.safetensors", offset=offset, length=length))

    refused(damaged(change_graph(edit)), "no tensor")


def hidden_in_constant(model):
    node = helper.make_node("Constant", [], ["c"])
    node.attribute.append(onnx.AttributeProto(name="value", type=4, t=linked_tensor("/etc/passwd")))
    model.graph.node.append(node)


def hidden_in_branch(model):
    graph = helper.make_graph([], "branch", [], [], initializer=[linked_tensor("/etc/passwd")])
    model.graph.node.append(helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph))


def hidden_in_sparse_tensor(model):
    model.graph.sparse_initializer.add().values.CopyFrom(linked_tensor("/etc/passwd"))


def hidden_in_function(model):
    function = model.functions.add(name="f")
    node = function.node.add(op_type="Constant")
    node.attribute.add(name="value", type=4).t.CopyFrom(linked_tensor("/etc/passwd"))


def hidden_in_training_graph(model):
    model.training_info.add().initialization.initializer.append(linked_tensor("/etc/passwd"))


@pytest.mark.parametrize(
    "hide",
    [
        hidden_in_constant,
        hidden_in_branch,
        hidden_in_sparse_tensor,
        hidden_in_function,
        hidden_in_training_graph,
    ],
)
def test_link_hidden_deeper(damaged, hide):
    refused(damaged(change_graph(hide)), "reaches for the file '/etc/passwd'")


def test_link_that_names_two_files(damaged):
    """Readers differ in which of the two they would follow."""

    def edit(model):
        tensor = model.graph.initializer[0]
        tensor.external_data.add(key="location", value="/etc/passwd")

    refused(damaged(change_graph(edit)), "not an ONNX file")


def test_other_signature(damaged):
    def rename(model):
        model.graph.output[0].name = "classes"

    refused(
        damaged(change_graph(rename)), "maps image to classes, features, expected image to logits, features"
    )


def test_scan_agrees_with_the_onnx_library(package_folder):
    for part in ("segmenter", "discriminator"):
        path = package_folder / f"{part}.onnx"
        model, facts = onnx.load(path, load_external_data=False), read_facts(path)
        assert facts.inputs == [value.name for value in model.graph.input]
        assert facts.outputs == [value.name for value in model.graph.output]
        assert len(facts.links) == len(model.graph.initializer)
        first = {entry.key: entry.value for entry in model.graph.initializer[0].external_data}
        assert facts.links[0] == first


def test_onnx_library_finds_the_packages_graphs_valid(package_folder):
    for part in ("segmenter", "discriminator"):
        onnx.checker.check_model(str(package_folder / f"{part}.onnx"))


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200))
def test_noise_is_refused_not_crashed_on(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()
    for name, reader in (("noise.onnx", read_facts), ("noise.safetensors", read_spans)):
        path = folder / name
        path.write_bytes(content)
        with contextlib.suppress(PackageError):
            reader(path)
            assert name == "noise.safetensors", "no noise this short declares inputs and outputs"


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damaged_graph_is_read_or_refused_not_crashed_on(package_folder, tmp_path_factory, data):
    content = bytearray((package_folder / "discriminator.onnx").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(content)
    with contextlib.suppress(PackageError):
        read_facts(path)


def test_a_graph_nested_without_end_is_refused(tmp_path):
    inner = b""
    for _ in range(400):  # attribute.g -> graph.node -> node.attribute, again and again
        for number in (6, 5, 1):
            inner = bytes([number << 3 | 2]) + varint(len(inner)) + inner
    (tmp_path / "deep.onnx").write_bytes(bytes([7 << 3 | 2]) + varint(len(inner)) + inner)
    with pytest.raises(PackageError):
        read_facts(tmp_path / "deep.onnx")


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


# --- safetensors ---


def tensor_file(header: object, data: bytes = b"\0" * 8, *, length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


GOOD = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def test_a_good_file_is_read(tmp_path):
    (tmp_path / "w").write_bytes(tensor_file(GOOD | {"__metadata__": {"format": "pt"}}))
    span = read_spans(tmp_path / "w")["w"]
    assert (span.dtype, span.shape, span.length) == ("F32", (2,), 8)
    assert span.start == (tmp_path / "w").stat().st_size - 8


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08\0\0",
        tensor_file(GOOD, length=2**62),
        tensor_file(GOOD, length=10**6),
        tensor_file(b"not json"),
        tensor_file([1, 2]),
        tensor_file(b"[" * 50_000),
        tensor_file({"w": {"dtype": "F32", "shape": [2]}}),
        tensor_file({"w": {"dtype": "F33", "shape": [2], "data_offsets": [0, 8]}}),
        tensor_file({"w": {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}}),
        tensor_file({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}),
        tensor_file({"w": {"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]}}),
        tensor_file({"w": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}}),
        tensor_file({"w": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}),
        tensor_file({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 9]}}),
        tensor_file({"w": "none"}),
        tensor_file(GOOD | {"v": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}),
        tensor_file(GOOD, b"\0" * 7),
        tensor_file(GOOD, b"\0" * 9),
        tensor_file({}),
    ],
)
def test_lying_headers_are_refused(tmp_path, content):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(PackageError):
        read_spans(tmp_path / "w")
