""".ui files: what the application would drop without a word is refused; connections and names work."""

from pathlib import Path
from typing import Any

import pytest

FORM = """<ui version="4.0"><class>A</class>
<widget class="qMRMLWidget" name="A"><layout class="QVBoxLayout" name="v">
{items}</layout></widget><connections>{connections}</connections></ui>"""


def load(folder: Path, items: str, connections: str = "") -> Any:
    """Widget of a form with these items."""
    import slicer

    path = folder / "form.ui"
    path.write_text(FORM.format(items=items, connections=connections), encoding="utf-8")
    return slicer.util.loadUI(str(path))


def item(class_name: str, name: str, properties: str = "") -> str:
    """One widget."""
    return f'<item><widget class="{class_name}" name="{name}">{properties}</widget></item>'


@pytest.mark.parametrize(
    ("items", "connections", "part"),
    [
        (item("ctkNopeWidget", "x"), "", "ctkNopeWidget"),
        (item("QLabel", "x", '<property name="txet"><string>a</string></property>'), "", "txet"),
        (
            item("QPushButton", "x"),
            "<connection><sender>x</sender><signal>clickd()</signal><receiver>A</receiver>"
            "<slot>hide()</slot></connection>",
            "clickd",
        ),
        (
            item("QPushButton", "x"),
            "<connection><sender>x</sender><signal>clicked()</signal><receiver>A</receiver>"
            "<slot>hied()</slot></connection>",
            "hied",
        ),
    ],
)
def test_faults_are_named(host: Any, tmp_path: Path, items: str, connections: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        load(tmp_path, items, connections)


def test_connections_reach_slots(host: Any, tmp_path: Path) -> None:
    import slicer

    widget = load(
        tmp_path,
        item("QCheckBox", "box") + item("QLabel", "line"),
        "<connection><sender>box</sender><signal>toggled(bool)</signal><receiver>line</receiver>"
        "<slot>setEnabled(bool)</slot></connection>",
    )
    ui = slicer.util.childWidgetVariables(widget)
    ui.box.checked = True
    ui.box.checked = False
    assert not ui.line.enabled


def test_properties_of_stand_ins_are_set(host: Any, tmp_path: Path) -> None:
    import slicer

    properties = (
        '<property name="maximum"><double>7.5</double></property>'
        '<property name="decimals"><number>3</number></property>'
        '<property name="SlicerParameterName" stdset="0"><string>t</string></property>'
    )
    ui = slicer.util.childWidgetVariables(load(tmp_path, item("ctkSliderWidget", "slider", properties)))
    assert (ui.slider.maximum, ui.slider.decimals) == (7.5, 3)
    assert ui.slider.property("SlicerParameterName") == "t"
