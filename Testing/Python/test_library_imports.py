"""Each module of the library can be the first one imported: no circle among what is imported at the start."""

import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import PESemiSegLib


def test_any_module_can_be_imported_first() -> None:
    """Importing a module runs the packages above it too, which is how circles come about unseen.

    Imports inside functions run later and close no circle, so only lines without indent count. (To import
    each module alone says the same, and takes half a minute.)
    """
    grimp = pytest.importorskip("grimp")
    graph = grimp.build_graph("PESemiSegLib", exclude_type_checking_imports=True, cache_dir=None)
    lines = {module: _source(module).read_text(encoding="utf-8").splitlines() for module in graph.modules}

    def opened(module: str) -> Iterator[str]:
        for imported in graph.find_modules_directly_imported_by(module):
            places = graph.get_import_details(importer=module, imported=imported)
            if all(lines[module][place["line_number"] - 1][:1].isspace() for place in places):
                continue
            parts = imported.split(".")
            above = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
            yield from (name for name in above if not f"{module}.".startswith(f"{name}."))

    circles = graphlib.TopologicalSorter({module: set(opened(module)) for module in graph.modules})
    try:
        circles.prepare()
    except graphlib.CycleError as error:
        pytest.fail(" is imported by ".join(error.args[1]))


def _source(module: str) -> Path:
    path = Path(PESemiSegLib.__file__).parent.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
