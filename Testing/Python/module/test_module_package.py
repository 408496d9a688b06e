"""The extension's files against each other: CMake lists, .ui names, strings, imports, index entry, size."""

import ast
import json
import re
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
MODULE, LIBRARY = REPOSITORY / "PESemiSeg", REPOSITORY / "PESemiSegLib"
SOURCES = [MODULE / "PESemiSeg.py", *sorted((MODULE / "PESemiSegUI").glob("*.py"))]
# Which .ui each Python file builds; the others reach no widget by name.
PANELS = {
    "Segment.ui": "segment_panel.py",
    "Review.ui": "review_panel.py",
    "Cohort.ui": "cohort_panel.py",
    "Train.ui": "train_panel.py train_settings.py train_view.py outcome.py",
    "Models.ui": "models_panel.py",
    "Environment.ui": "environment_panel.py",
    "PESemiSeg.ui": "shell.py",
}
TOUCHED = {
    "QPushButton",
    "QComboBox",
    "QCheckBox",
    "QTableWidget",
    "QLineEdit",
    "ctkSliderWidget",
    "QProgressBar",
}


def listed(cmake: Path, name: str) -> set[str]:
    text = re.sub(r"#[^\n]*", "", cmake.read_text())
    found = re.search(rf"set\({name}\s(.*?)\)", text, re.S)
    assert found, name
    return {word.replace("${MODULE_NAME}", "PESemiSeg") for word in found.group(1).split()}


def in_tree(root: Path, *, python: bool) -> set[str]:
    files = [p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return {
        p.relative_to(root).as_posix()
        for p in files
        if (p.suffix == ".py") == python and p.name != "CMakeLists.txt"
    }


def test_cmake_lists_equal_the_tree() -> None:
    lists, tree = MODULE / "CMakeLists.txt", LIBRARY / "CMakeLists.txt"
    assert listed(lists, "MODULE_PYTHON_SCRIPTS") == in_tree(MODULE, python=True)
    assert listed(lists, "MODULE_PYTHON_RESOURCES") == in_tree(MODULE, python=False)
    assert listed(tree, "LIBRARY_PYTHON_SCRIPTS") == in_tree(LIBRARY, python=True)
    assert listed(tree, "LIBRARY_RESOURCES") == in_tree(LIBRARY, python=False)


def test_one_python_file_lies_in_the_module_folder() -> None:
    assert [path.name for path in MODULE.glob("*.py")] == ["PESemiSeg.py"]


def test_no_file_has_grown_too_long() -> None:
    assert {p.name: n for p in SOURCES if (n := len(p.read_text().splitlines())) > 300} == {}


@pytest.mark.parametrize("ui", sorted(PANELS))
def test_every_widget_is_bound_and_every_name_exists(ui: str) -> None:
    root = ElementTree.parse(MODULE / "Resources" / "UI" / ui).getroot()
    source = "\n".join((MODULE / "PESemiSegUI" / name).read_text() for name in PANELS[ui].split())
    names = {widget.get("name"): widget for widget in root.iter("widget")}
    used = set(re.findall(r"\bui\.(\w+)", source))
    assert used <= set(names), used - set(names)
    for name, widget in names.items():
        bound = any(p.get("name") == "SlicerParameterName" for p in widget.findall("property"))
        assert bound or name in used or widget.get("class") not in TOUCHED, f"{name} does nothing"
    for stop in root.iter("tabstop"):
        assert stop.text in names
    assert {c.findtext("receiver") for c in root.iter("connection")} <= set(names)


def test_every_bound_parameter_exists() -> None:
    source = ast.parse((MODULE / "PESemiSegUI" / "parameters.py").read_text())
    known = {node.target.id for node in ast.walk(source) if isinstance(node, ast.AnnAssign)}
    for path in (MODULE / "Resources" / "UI").glob("*.ui"):
        root = ElementTree.parse(path).getroot()
        bound = [
            p.findtext("string") for p in root.iter("property") if p.get("name") == "SlicerParameterName"
        ]
        assert set(bound) <= known
        assert len(bound) == len(set(bound)), "two widgets on one parameter: Slicer connects only one"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_strings_are_translated_as_plain_literals(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
            (argument,) = node.args
            assert isinstance(argument, ast.Constant), f"line {node.lineno}: not a literal"
            assert isinstance(argument.value, str)
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        shown = isinstance(target, ast.Attribute) and target.attr in ("text", "toolTip", "title")
        if shown and isinstance(node.value, ast.Constant):
            assert not node.value.value, f"line {node.lineno}: {node.value.value!r} is not translated"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_heavy_or_blocking(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert not imported & {"torch", "openvino", "monai", "requests", "subprocess", "pip"}
    if path.name != "self_test.py":
        assert "processEvents" not in path.read_text()
        assert ".sleep(" not in path.read_text()
    assert "QMessageBox" not in path.read_text()
    assert "isinstance(" not in path.read_text() or not re.search(
        r"isinstance\([^)]*\bqt\.", path.read_text()
    )


def test_what_slicer_imports_of_the_library_brings_no_engine() -> None:
    text = "\n".join(path.read_text() for path in SOURCES)
    rooms = sorted(set(re.findall(r"from (PESemiSegLib[\w.]*) import", text)))
    assert len(rooms) > 8
    imports = [f"import {room}" for room in rooms]
    command = [sys.executable, "-c", "; ".join(["import sys", *imports, "print(sorted(sys.modules))"])]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stdout))
    assert not loaded & {"torch", "openvino", "monai", "highdicom", "skimage", "platformdirs", "qt", "slicer"}


def test_index_entry_equals_the_cmake_metadata() -> None:
    text = (REPOSITORY / "CMakeLists.txt").read_text()
    entry = json.loads((REPOSITORY / "PESemiSeg.json").read_text())
    project = re.search(r"project\((\w+)\)", text)
    assert project
    assert project.group(1) == "PESemiSeg"
    said = dict(re.findall(r'set\(EXTENSION_(\w+) "([^"]*)"\)', text))
    assert said["CATEGORY"] == entry["category"]
    assert said["HOMEPAGE"] == entry["scm_url"]
    assert said["DEPENDS"].split() == entry["build_dependencies"]
    assert b"\r" not in (REPOSITORY / "PESemiSeg.json").read_bytes()
    place = entry["scm_url"].removeprefix("https://github.com/")
    assert place.endswith("/SlicerPESemiSeg")
    for file in (REPOSITORY / "CMakeLists.txt", MODULE / "PESemiSeg.py"):
        told = re.findall(
            r"https://(?:github|raw\.githubusercontent)\.com/([\w.-]+/[\w.-]+)", file.read_text()
        )
        assert told, file.name
        assert set(told) == {place}, file.name
    for address in (said["ICONURL"], *said["SCREENSHOTURLS"].split()):
        name = address.split("/main/")[1]
        data = (REPOSITORY / name).read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n", name
    assert struct.unpack(">II", (REPOSITORY / "Resources" / "PESemiSeg.png").read_bytes()[16:24]) == (
        128,
        128,
    )


def test_requirements_have_lower_bounds_only_and_equal_the_project() -> None:
    import tomllib

    small, training = (
        (MODULE / "Resources" / f"requirements{name}.txt").read_text().split() for name in ("", "-training")
    )
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+", line) for line in (*small, *training))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    on_the_command_line = {"typer", "rich"}
    assert set(small) == {
        line for line in project["dependencies"] if re.split(">=", line)[0] not in on_the_command_line
    }
    extra = project["optional-dependencies"]["train"]
    (torch,) = (line for line in extra if line.startswith("torch>="))
    assert set(training) == set(extra) - {torch}  # which Slicer's PyTorch extension installs


def test_what_is_imported_is_what_gets_installed() -> None:
    """Each package that the library imports stands in one of the lists, or comes with one that does."""
    names = {"cv2": "opencv-python-headless", "sklearn": "scikit-learn", "yaml": "PyYAML"}
    names |= {"skimage": "scikit-image", "PIL": "scikit-image"}
    lines = [
        line for path in (MODULE / "Resources").glob("requirements*.txt") for line in path.read_text().split()
    ]
    there = {line.split(">=")[0] for line in lines} | {"torch", "typer", "rich"}
    for path in LIBRARY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, "level", 0):
                found = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                roots = {name.split(".")[0] for name in found} - set(sys.stdlib_module_names)
                roots -= {"PESemiSegLib", "_typeshed"}
                assert {names.get(root, root) for root in roots} <= there, path


def test_a_clone_stays_small() -> None:
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    sizes = [
        (REPOSITORY / n).stat().st_size for n in files.stdout.split("\0") if n and (REPOSITORY / n).exists()
    ]
    assert sum(sizes) < 60e6
