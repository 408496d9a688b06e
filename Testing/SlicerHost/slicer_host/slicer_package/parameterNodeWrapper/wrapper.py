"""The decorator: attributes of a class become values in a parameter node."""

from __future__ import annotations

import weakref
from typing import Any

from . import gui, packs
from .members import Member, members_of

SlicerParameterNamePropertyName = "SlicerParameterName"
packs._finish()


def parameterNodeWrapper(cls: type) -> type:
    """Make a class with annotated members into a wrapper around a parameter node."""
    members = members_of(cls)
    cls._is_parameter_node_wrapper = True  # type: ignore[attr-defined]
    cls.allParameters = property(lambda self: dict(members))  # type: ignore[attr-defined]
    cls.__init__ = _make_init(members)  # type: ignore[misc]
    for name, member in members.items():
        setattr(cls, name, _make_property(member))
    for method in (
        AddObserver,
        EndModify,
        Modified,
        RemoveObserver,
        StartModify,
        connectGui,
        connectParametersToGui,
    ):
        setattr(cls, method.__name__, method)
    for method in (dataType, default, disconnectGui, getValue, isCached, setValue):
        setattr(cls, method.__name__, method)
    return cls


def isParameterNodeWrapper(value: Any) -> bool:
    """Whether a class or an instance is a wrapper."""
    return bool(getattr(value, "_is_parameter_node_wrapper", False))


def _make_init(members: dict[str, Member]) -> Any:
    def _initMethod(self: Any, parameterNode: Any, prefix: str | None = None) -> None:
        if "parameterNode" in members:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '_parameterNode_impl'")
        self.parameterNode = parameterNode
        self._prefix, self._cache, self._connections, self._filling = prefix or "", {}, {}, False
        for member in members.values():
            _fill(self, member)
            getattr(self, member.name)
        back = weakref.ref(self)
        parameterNode.AddObserver("ModifiedEvent", lambda *_: _forget(back()))

    _initMethod.__qualname__ = "_initMethod"
    return _initMethod


def _forget(wrapper: Any) -> None:
    """The node was modified: values are read again, except those that write themselves through.

    Values that are gone (the scene was cleared) get their defaults again.
    """
    if wrapper is None or wrapper._filling:
        return
    members = wrapper.allParameters
    wrapper._cache = {n: v for n, v in wrapper._cache.items() if members[n].serializer.live}
    wrapper._filling = True
    try:
        for member in members.values():
            _fill(wrapper, member)
    finally:
        wrapper._filling = False


def _fill(self: Any, member: Member) -> None:
    """Write the default where the node has no value; it must be valid itself."""
    if not member.serializer.is_in(self.parameterNode, self._prefix + member.name):
        value = member.default.make()
        member.serializer.check(value)
        _write(self, member, value)


def _write(self: Any, member: Member, value: Any) -> None:
    batch = self.parameterNode.StartModify()
    try:
        member.serializer.write(self.parameterNode, self._prefix + member.name, value)
    finally:
        self.parameterNode.EndModify(batch)


def _make_property(member: Member) -> property:
    def get(self: Any) -> Any:
        if member.name not in self._cache:
            _fill(self, member)

            def changed(value: Any) -> None:
                member.serializer.check(value)
                _write(self, member, value)
                gui.refresh(self, member.name)

            value = member.serializer.read(self.parameterNode, self._prefix + member.name, changed)
            if not _is_reference(member):
                self._cache[member.name] = value
            return value
        return self._cache[member.name]

    def put(self: Any, value: Any) -> None:
        member.serializer.check(value)
        if not member.serializer.live and type(get(self)) is type(value) and get(self) == value:
            return
        _write(self, member, value)
        self._cache.pop(member.name, None)
        get(self)
        gui.refresh(self, member.name)

    return property(get, put)


def _is_reference(member: Member) -> bool:
    return type(member.serializer).__name__ == "Reference"


def _member(self: Any, name: str) -> Member:
    members = self.allParameters
    if name not in members:
        known = "".join(f"    {key},\n" for key in members)
        raise ValueError(f"Cannot find a param with the given name: {name}\n  Found parameters [\n{known}  ]")
    return members[name]


def AddObserver(self: Any, event: Any, callback: Any, priority: float = 0.0) -> int:
    """Observe the node."""
    return self.parameterNode.AddObserver(event, callback, priority)


def RemoveObserver(self: Any, tag: int) -> None:
    """Stop observing the node."""
    self.parameterNode.RemoveObserver(tag)


def StartModify(self: Any) -> int:
    """Start a batch."""
    return self.parameterNode.StartModify()


def EndModify(self: Any, wasModifying: int) -> int:
    """End a batch."""
    return self.parameterNode.EndModify(wasModifying)


def Modified(self: Any) -> None:
    """Say that the node changed."""
    self.parameterNode.Modified()


def isCached(self: Any, parameterName: str) -> bool:
    """Whether a parameter is kept between reads."""
    return not _is_reference(_member(self, parameterName))


def default(self: Any, parameterName: str) -> Any:
    """The default of a parameter."""
    return _member(self, parameterName).default


def dataType(self: Any, parameterName: str) -> Any:
    """The type of a parameter."""
    return _member(self, parameterName).kind


def getValue(self: Any, parameterName: str) -> Any:
    """A value by its name; members of packs as 'pack.member'."""
    head, *rest = parameterName.split(".")
    _member(self, head)
    value = getattr(self, head)
    for name in rest:
        value = getattr(value, name)
    return value


def setValue(self: Any, parameterName: str, value: Any) -> None:
    """Set a value by its name."""
    *path, last = parameterName.split(".")
    _member(self, (path or [last])[0])
    target = self
    for name in path:
        target = getattr(target, name)
    setattr(target, last, value)


def connectGui(self: Any, gui_object: Any) -> int:
    """Connect every widget that has the property SlicerParameterName; returns a tag for `disconnectGui`."""
    return self.connectParametersToGui(
        gui.widgets_by_parameter(self, gui_object, SlicerParameterNamePropertyName)
    )


def connectParametersToGui(self: Any, mapping: dict[str, Any]) -> int:
    """Connect parameters to widgets."""
    members = {name: _member(self, name.split(".")[0]) for name in mapping}
    return gui.connect(self, members, mapping)


def disconnectGui(self: Any, tag: int) -> None:
    """Undo one `connectGui`."""
    gui.disconnect(self, tag)
