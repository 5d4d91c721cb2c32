"""PythonQt's manners on PySide6: the module that Slicer's Python knows as `qt`.

Slicer reaches Qt through PythonQt, where a property is an attribute (`button.text = "Run"`), a signal is connected by
its signature (`button.connect("clicked(bool)", f)`), and a C++ object takes no new attributes. Here the same code
runs on PySide6, and what PythonQt would let pass in silence (a signal that does not exist) is an error.
"""

import functools
import inspect
import sys
import types
from typing import ClassVar

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

# Exceptions that left a slot. Qt would print them and go on; a test must not (see `Host.check`).
errors: list[BaseException] = []

# Virtual functions that are properties too: C++ asks Python for an override of them by name and needs the function.
_VIRTUAL = frozenset({"sizeHint", "minimumSizeHint"})


class PythonQt:
    """Mixin for QObject classes: properties as attributes, and `connect` by signature.

    A class whose own namespace has `_sealed` stands for a C++ class: its objects take no new attributes. Stand-ins
    for Slicer's and CTK's classes keep their state in names with a leading underscore, and declare in `_signals`
    which PySide6 signal carries a signature that PySide6 cannot spell, such as `currentNodeChanged(vtkMRMLNode*)`.
    """

    _signals: ClassVar[dict[str, str]] = {}
    # PySide6's form loader hangs the widgets on the form as attributes; the host's takes them off again.
    _loading = False

    def __getattribute__(self, name):
        if name.startswith("_") or name in _VIRTUAL or _defined_in_python(type(self), name):
            return super().__getattribute__(name)
        if name == "name":
            return QtCore.QObject.objectName(self)
        if name in ("connect", "disconnect"):
            function = _connect if name == "connect" else _disconnect
            return types.MethodType(function, self)
        prop = _property(self, name)
        return prop.read(self) if prop is not None else super().__getattribute__(name)

    def __setattr__(self, name, value):
        prop = _property(self, name)
        if prop is not None:
            if not prop.isWritable() or not prop.write(self, value):
                raise TypeError(f"{type(self).__name__}.{name} cannot be set to {value!r}")
        elif not name.startswith("_") and "_sealed" in vars(type(self)) and not PythonQt._loading:
            raise AttributeError(f"{type(self).__name__} has no property {name!r}, and C++ objects take no new ones")
        else:
            super().__setattr__(name, value)


def _defined_in_python(cls: type, name: str) -> bool:
    """Whether a Python class above the C++ one defines `name`; PythonQt, too, asks Python first."""
    for base in cls.__mro__:
        if "_sealed" in vars(base):
            return False
        if name in vars(base):
            return True
    return False


def _property(self, name: str):
    meta = QtCore.QObject.metaObject(self)
    index = meta.indexOfProperty(name)
    return meta.property(index) if index >= 0 else None


def _connect(self, signature: str, slot) -> bool:
    signal = find_signal(self, signature)
    # PythonQt passes what the signature names, less what the slot does not take.
    named = 0 if signature.endswith("()") else signature.count(",") + 1
    accepted = int(min(named, _positional_arguments(slot)))

    def guarded(*arguments):
        try:
            slot(*arguments[:accepted])
        except BaseException as error:
            errors.append(error)
            raise

    connections = self.__dict__.setdefault("_connections", {})
    connections[(signature, slot)] = guarded
    signal.connect(guarded)
    return True


def _disconnect(self, signature: str, slot) -> bool:
    guarded = self.__dict__.get("_connections", {}).pop((signature, slot), None)
    if guarded is None:
        raise RuntimeError(f"{signature} of {type(self).__name__} {self.name!r} was not connected to {slot}")
    find_signal(self, signature).disconnect(guarded)
    return True


def find_signal(self, signature: str):
    """The bound PySide6 signal of an object for a C++ signature.

    Raises:
        AttributeError: the class has no such signal.
    """
    normalized = bytes(QtCore.QMetaObject.normalizedSignature(signature).data()).decode()
    name, _, rest = normalized.partition("(")
    if normalized in self._signals:
        return QtCore.QObject.__getattribute__(self, self._signals[normalized])
    if QtCore.QObject.metaObject(self).indexOfSignal(normalized) < 0:
        meta = QtCore.QObject.metaObject(self)
        methods = [meta.method(index) for index in range(meta.methodCount())]
        known = [m.methodSignature().data().decode() for m in methods if m.methodType() == QtCore.QMetaMethod.Signal]
        raise AttributeError(f"{type(self).__name__} has no signal {signature}. It has: {sorted(known)}")
    bound = getattr(super(PythonQt, self), name)
    arguments = rest.rstrip(")")
    return bound[arguments] if arguments and "," not in arguments and len(_overloads(self, name)) > 1 else bound


def _overloads(self, name: str) -> set[str]:
    meta = QtCore.QObject.metaObject(self)
    signatures = (meta.method(index).methodSignature().data().decode() for index in range(meta.methodCount()))
    return {signature for signature in signatures if signature.startswith(f"{name}(")}


def _positional_arguments(slot) -> float:
    """How many positional arguments `slot` takes."""
    try:
        parameters = inspect.signature(slot).parameters.values()
    except (TypeError, ValueError):
        return float("inf")
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return float("inf")
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


class QtModule(types.ModuleType):
    """`qt`: QtCore, QtGui, QtWidgets and QtUiTools under one name, QObject classes with the mixin above."""

    def __getattr__(self, name):
        for module in (QtCore, QtGui, QtWidgets, QtUiTools):
            found = getattr(module, name, None)
            if found is None:
                continue
            if isinstance(found, type) and issubclass(found, QtCore.QObject):
                found = sealed(found)
            setattr(self, name, found)
            return found
        raise AttributeError(f"module 'qt' has no attribute {name!r}")


@functools.cache
def sealed(cls: type) -> type:
    """The class with PythonQt's manners, named as before."""
    return type(cls)(cls.__name__, (PythonQt, cls), {"_sealed": True, "__module__": "qt"})


def install() -> QtModule:
    """Put the module into `sys.modules` as `qt`; a second call returns the same one."""
    if not isinstance(sys.modules.get("qt"), QtModule):
        sys.modules["qt"] = QtModule("qt")
    return sys.modules["qt"]
