"""Parameters and widgets: which pairs can be connected, and keeping the two in step."""

from __future__ import annotations

import enum
import pathlib
from collections.abc import Callable
from typing import Any

from .annotations import (
    Choice,
    Decimals,
    Default,
    Maximum,
    Minimum,
    RangeBounds,
    SingleStep,
    WithinRange,
    first,
)
from .members import Member
from .packs import FloatRange

HUGE_INT, HUGE_FLOAT = 2**31 - 1, 1.7976931348623157e308


class Connector:
    """One widget showing one parameter."""

    def __init__(
        self,
        wrapper: Any,
        name: str,
        widget: Any,
        signal: str,
        get: Callable[[], Any],
        put: Callable[[Any], None],
    ) -> None:
        self.wrapper, self.name, self.widget, self.signal = wrapper, name, widget, signal
        self.get, self.put = get, put
        self._showing = False
        self.show()
        widget.connect(signal, self.on_changed)

    def show(self) -> None:
        """Parameter to widget; what the widget rounds does not go back."""
        self._showing = True
        try:
            self.put(self.wrapper.getValue(self.name))
        finally:
            self._showing = False

    def on_changed(self, *_values: Any) -> None:
        """Widget to parameter."""
        if not self._showing:
            self.wrapper.setValue(self.name, self.get())


def widgets_by_parameter(wrapper: Any, gui_object: Any, property_name: str) -> dict[str, Any]:
    """Widgets by parameter name. Two on one parameter are refused: the application leaves one dead."""
    import slicer

    is_widget = hasattr(gui_object, "children")
    widgets = slicer.util.findChildren(gui_object) if is_widget else list(vars(gui_object).values())
    found: dict[str, Any] = {}
    for widget in widgets:
        name = widget.property(property_name) if hasattr(widget, "property") else None
        if name:
            if name in found:
                raise ValueError(
                    f"two widgets for parameter {name!r}: the application connects only one of them"
                )
            found[name] = widget
    return found


def connect(wrapper: Any, members: dict[str, Member], mapping: dict[str, Any]) -> int:
    """Connect all; all or nothing."""
    made: list[Connector] = []
    try:
        for name, widget in mapping.items():
            made.append(_connector(wrapper, name, _innermost(members[name], name), widget))
    except Exception:
        _drop(made)
        raise
    tag = len(wrapper._connections) + 1
    wrapper._connections[tag] = made
    return tag


def disconnect(wrapper: Any, tag: int) -> None:
    """Disconnect all widgets of one tag."""
    _drop(wrapper._connections.pop(tag))


def _drop(connectors: list[Connector]) -> None:
    for connector in connectors:
        try:
            connector.widget.disconnect(connector.signal, connector.on_changed)
        except ValueError:
            continue  # the widget is gone


def refresh(wrapper: Any, name: str) -> None:
    """After an assignment through the wrapper: show it. (Changes by others do not reach the widgets.)"""
    for connectors in wrapper._connections.values():
        for connector in connectors:
            if connector.name.split(".")[0] == name:
                connector.show()


def _innermost(member: Member, path: str) -> Member:
    for part in path.split(".")[1:]:
        member = member.kind.allParameters[part]
    return member


def _connector(wrapper: Any, name: str, member: Member, widget: Any) -> Connector:
    """The connector for a pair, by type and widget class. Raises RuntimeError where there is none."""
    kind, widget_class, extras = member.kind, widget.className(), member.extras
    is_class = isinstance(kind, type)

    def make(signal: str, get: Callable[[], Any], put: Callable[[Any], None]) -> Connector:
        return Connector(wrapper, name, widget, signal, get, put)

    def assign(attribute: str, convert: Callable[[Any], Any] = lambda value: value) -> Callable[[Any], None]:
        return lambda value: setattr(widget, attribute, convert(value))

    if kind is int and widget_class in ("QSpinBox", "QSlider"):
        _set_limits(widget, extras, HUGE_INT, int)
        return make("valueChanged(int)", lambda: widget.value, assign("value"))
    if kind in (int, float) and widget_class in ("QDoubleSpinBox", "ctkSliderWidget", "ctkDoubleSpinBox"):
        _set_limits(widget, extras, HUGE_FLOAT if kind is float else HUGE_INT, float)
        return make("valueChanged(double)", lambda: kind(widget.value), assign("value", float))
    if kind is bool and widget_class == "QCheckBox":
        return make("toggled(bool)", lambda: widget.checked, assign("checked"))
    if widget_class == "QComboBox":
        return _combo(make, kind, extras, widget)
    if kind is str and widget_class == "QLineEdit":
        return make("textChanged(QString)", lambda: widget.text, assign("text"))
    if kind is str and widget_class == "QLabel":
        return make("objectNameChanged(QString)", lambda: widget.text, assign("text"))
    if kind is pathlib.Path and widget_class == "ctkPathLineEdit":
        return make(
            "currentPathChanged(QString)",
            lambda: pathlib.Path(widget.currentPath),
            assign("currentPath", str),
        )
    if kind is pathlib.Path and widget_class == "ctkDirectoryButton":
        return make(
            "directoryChanged(QString)", lambda: pathlib.Path(widget.directory), assign("directory", str)
        )
    if kind is FloatRange and widget_class == "ctkRangeWidget":
        return _range(make, extras, widget)
    if is_class and kind.__name__.startswith("vtkMRML") and widget_class == "qMRMLNodeComboBox":
        return make("currentNodeChanged(vtkMRMLNode*)", widget.currentNode, widget.setCurrentNode)
    raise RuntimeError(
        f"Unable to create GUI connector from datatype '{kind}' to widget type '{widget_class}'. "
        "To determine which types can be connected to which widgets, see the application's connectors"
    )


def _set_limits(widget: Any, extras: tuple[Any, ...], huge: float, number: type) -> None:
    """Limits, step and decimals of a widget come from the annotations."""
    within, low, high = first(extras, WithinRange), first(extras, Minimum), first(extras, Maximum)
    if decimals := first(extras, Decimals):
        widget.decimals = decimals.value
    widget.minimum = number(within.minimum if within else low.minimum if low else -huge)
    widget.maximum = number(within.maximum if within else high.maximum if high else huge)
    if step := first(extras, SingleStep):
        widget.singleStep = number(step.value)


def _combo(make: Any, kind: Any, extras: tuple[Any, ...], widget: Any) -> Connector:
    """A combo box lists an enum's member names, or the choices of an annotation."""
    choice = first(extras, Choice)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        values = {member.name: member for member in kind}
    elif choice:
        values = {str(value): value for value in choice.choices}
    else:
        raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
    texts = {value: text for text, value in values.items()}
    widget.clear()
    widget.addItems(list(values))
    return make(
        "currentTextChanged(QString)",
        lambda: values[widget.currentText],
        lambda value: widget.setCurrentText(texts[value]),
    )


def _range(make: Any, extras: tuple[Any, ...], widget: Any) -> Connector:
    """A range needs its bounds, and (a fault of the application) its default as an annotation."""
    bounds = first(extras, RangeBounds)
    if bounds is None or first(extras, Default) is None:
        raise AttributeError("a range widget needs RangeBounds and Default(...) as annotations")
    widget.minimum, widget.maximum = float(bounds.minimum), float(bounds.maximum)
    return make(
        "valuesChanged(double,double)",
        lambda: FloatRange(widget.minimumValue, widget.maximumValue),
        lambda value: widget.setValues(value.minimum, value.maximum),
    )
