"""Collapsible button and group box, directory and colour buttons."""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets

from ..qt_rules import signals
from ..qt_rules.stand_in import computed, declared, stand_in


@stand_in
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A checkable button over a panel; checked means open. Hides its children once it was shown."""

    _h_signals = ("contentsCollapsed(bool)",)
    contentsFrameShape = declared("int", 0)
    collapsedHeight = declared("int", 14)
    contentsFrameShadow = declared("int", 16)
    contentsLineWidth = declared("int", 1)
    flat = declared("bool", False)

    def _h_setup(self) -> None:
        self._h_collapsed, self._h_hidden_here, self._h_opened = False, set(), False
        self.setCheckable(True)
        self.setChecked(True)
        signals._original_connect(self, QtCore.SIGNAL("toggled(bool)"), lambda on: self._h_collapse(not on))

    def _h_set_collapsed(self, collapsed: bool) -> None:
        if collapsed != self._h_collapsed:
            self._h_collapse(collapsed)
            self.setChecked(not collapsed)

    def _h_collapse(self, collapsed: bool) -> None:
        if collapsed == self._h_collapsed:
            return
        self._h_collapsed = collapsed
        self._h_apply()
        signals.emit(self, "contentsCollapsed(bool)", collapsed)

    def _h_apply(self) -> None:
        """Hide the children that are not hidden by the module's own wish, or bring those back."""
        if not self._h_opened:
            return
        children = [c for c in QtCore.QObject.children(self) if c.inherits("QWidget")]
        if self._h_collapsed:
            self._h_hidden_here |= {child for child in children if not child.isHidden()}
        for child in self._h_hidden_here:
            child.setVisible(not self._h_collapsed)
        if not self._h_collapsed:
            self._h_hidden_here = set()

    collapsed = computed("bool", lambda self: self._h_collapsed, lambda self, v: self._h_set_collapsed(v))

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        """From the first show on, collapsing hides."""
        self._h_opened = True
        self._h_apply()
        QtWidgets.QAbstractButton.showEvent(self, event)

    def sizeHint(self) -> QtCore.QSize:
        """Room for the title line and, when open, the contents."""
        inner = self.layout().sizeHint() if self.layout() and not self._h_collapsed else QtCore.QSize(0, 0)
        return QtCore.QSize(max(120, inner.width()), inner.height() + 24)

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """Contents start below the title line."""
        self.setContentsMargins(0, 22, 0, 0)
        QtWidgets.QAbstractButton.resizeEvent(self, event)

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        """Title with an arrow."""
        painter = QtGui.QPainter(self)
        line = QtCore.QRect(0, 0, self.width, 20)
        painter.fillRect(line, self.palette.button())
        arrow = "▸ " if self._h_collapsed else "▾ "
        painter.drawText(
            line.adjusted(6, 0, 0, 0), int(QtCore.Qt.AlignmentFlag.AlignVCenter), arrow + self.text
        )
        painter.end()


@stand_in
class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """A checkable group box whose check is its opening."""

    def _h_setup(self) -> None:
        self.setCheckable(True)
        self.setChecked(True)

    collapsed = computed("bool", lambda self: not self.isChecked(), lambda self, v: self.setChecked(not v))


@stand_in
class ctkDirectoryButton(QtWidgets.QWidget):
    """A button that holds a folder; any text is taken as one."""

    _h_signals = ("directoryChanged(QString)", "directorySelected(QString)")
    caption = declared("QString", "")
    text = declared("QString", "")

    def _h_put(self, folder: str) -> None:
        folder = QtCore.QDir(folder).absolutePath()
        signals.emit(self, "directorySelected(QString)", folder)
        if folder != self.directory:
            self._h_folder = folder
            signals.emit(self, "directoryChanged(QString)", folder)

    directory = computed(
        "QString",
        lambda self: self.__dict__.get("_h_folder", QtCore.QDir.currentPath()),
        lambda self, folder: self._h_put(folder),
    )


@stand_in
class ctkColorPickerButton(QtWidgets.QPushButton):
    """A button that shows a colour."""

    _h_signals = ("colorChanged(QColor)",)
    color = declared("QColor", QtGui.QColor(0, 0, 0), "colorChanged(QColor)")
    displayColorName = declared("bool", True)
