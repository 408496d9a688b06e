"""Qt properties as Python attributes: `label.text`, not `label.text()`."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui

from .values import accept, to_python

# Properties that Qt 6 has and Slicer's Qt 5.15 has not; the methods of the same name stay.
NOT_IN_QT5 = {
    ("QLayout", "contentsMargins"),
    ("QComboBox", "labelDrawingMode"),
    ("QMessageBox", "options"),
    ("QDateTimeEdit", "timeZone"),
    ("QAbstractItemView", "updateThreshold"),
    ("QStandardItemModel", "updateThreshold"),
}
STATIC_INSTEAD = {("QTimer", "singleShot")}  # PythonQt lets the static function hide the property


class Property:
    """One Qt property on a class; reads and writes through the C++ getter and setter where they exist."""

    def __init__(self, cls: type, meta: QtCore.QMetaProperty) -> None:
        self.name, self.type_name = meta.name(), meta.typeName()
        self.writable, self.is_enum = meta.isWritable(), meta.isEnumType()
        getter = getattr(cls, self.name, None)
        self.getter = _as_method(getter) if callable(getter) else getattr(getter, "getter", None)
        self.setter = _as_method(getattr(cls, "set" + self.name[0].upper() + self.name[1:], None))

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return None
        value = to_python(self.getter(instance) if self.getter else instance.property(self.name))
        return _as_tool_tip(value) if self.name == "toolTip" and instance.isWidgetType() else value

    def __set__(self, instance: Any, value: Any) -> None:
        write(instance, self, value)


def _as_method(function: Any) -> Any:
    """A function that takes the object first, also for the static ones (applicationName and its like)."""
    if type(function).__name__ == "builtin_function_or_method":
        return lambda _instance, *values: function(*values)
    return function


def _as_tool_tip(text: str) -> str:
    """Slicer wraps the plain text of tool tips into a paragraph, so it reads back differently."""
    return text if not text or QtGui.Qt.mightBeRichText(text) else f"<p>{text}</p>"


def write(instance: Any, prop: Property, value: Any) -> None:
    """Assign a property with PythonQt's error words; AttributeError for a read-only one or a wrong type."""
    if not prop.writable:
        raise AttributeError(f"Property '{prop.name}' of {type(instance).__name__} object is not writable")
    refusal = (
        f"Property '{prop.name}' of type '{prop.type_name}' does not accept an object of type "
        f"{type(value).__name__} ({value!r})"
    )
    try:
        value = accept("int" if prop.is_enum else prop.type_name, value)
    except TypeError:
        raise AttributeError(refusal) from None
    try:
        if prop.setter and not prop.is_enum:
            prop.setter(instance, value)
        elif not instance.setProperty(prop.name, value):
            raise TypeError
    except TypeError:
        raise AttributeError(refusal) from None


def install(cls: type) -> None:
    """Put Qt properties on the class: its own, and inherited ones that one of its methods hides."""
    meta_object = cls.staticMetaObject  # type: ignore[attr-defined]
    for index in range(meta_object.propertyCount()):
        meta = meta_object.property(index)
        if index < meta_object.propertyOffset() and meta.name() not in cls.__dict__:
            continue
        if any((base.__name__, meta.name()) in NOT_IN_QT5 | STATIC_INSTEAD for base in cls.__mro__):
            continue
        setattr(cls, meta.name(), Property(cls, meta))
