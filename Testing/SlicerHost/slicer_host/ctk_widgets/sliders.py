"""Slider, range and spin box with real numbers."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets

from ..qt_rules import signals
from ..qt_rules.stand_in import computed, declared, stand_in


@stand_in
class ctkSliderWidget(QtWidgets.QWidget):
    """A value between limits, with slider and spin box. Neither rounds to decimals nor snaps to steps."""

    _h_signals = ("valueChanged(double)", "valueIsChanging(double)")
    singleStep = declared("double", 1.0)
    pageStep = declared("double", 10.0)
    tickInterval = declared("double", 0.0)
    tracking = declared("bool", True)
    spinBoxVisible = declared("bool", True)
    suffix = declared("QString", "")
    prefix = declared("QString", "")

    def _h_setup(self) -> None:
        self._h_low, self._h_high, self._h_value, self._h_decimals = 0.0, 99.99, 0.0, 2
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._h_slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._h_box = QtWidgets.QDoubleSpinBox()
        self._h_slider.setRange(0, 1000)
        row.addWidget(self._h_slider)
        row.addWidget(self._h_box)
        connect = signals._original_connect
        connect(self._h_slider, QtCore.SIGNAL("sliderMoved(int)"), self._h_moved)
        connect(self._h_box, QtCore.SIGNAL("valueChanged(double)"), lambda v: self._h_put(v))
        self._h_show()

    def _h_moved(self, position: int) -> None:
        self._h_put(self._h_low + (self._h_high - self._h_low) * position / 1000)

    def _h_put(self, value: float) -> None:
        value = min(max(value, self._h_low), self._h_high)
        if value == self._h_value:
            return
        self._h_value = value
        self._h_show()
        signals.emit(self, "valueChanged(double)", value)

    def _h_limits(self, low: float, high: float) -> None:
        self._h_low, self._h_high = low, high
        self._h_put(self._h_value)
        self._h_show()

    def _h_show(self) -> None:
        """Bring the inner widgets to the value without their signals."""
        blocked = [w.blockSignals(True) for w in (self._h_slider, self._h_box)]
        self._h_box.setDecimals(self._h_decimals)
        self._h_box.setRange(self._h_low, self._h_high)
        self._h_box.setValue(self._h_value)
        span = self._h_high - self._h_low
        self._h_slider.setValue(round(1000 * (self._h_value - self._h_low) / span) if span else 0)
        self._h_slider.blockSignals(blocked[0])
        self._h_box.blockSignals(blocked[1])

    def _h_set_decimals(self, decimals: int) -> None:
        self._h_decimals = decimals
        self._h_show()

    minimum = computed(
        "double", lambda self: self._h_low, lambda self, v: self._h_limits(v, max(v, self._h_high))
    )
    maximum = computed(
        "double", lambda self: self._h_high, lambda self, v: self._h_limits(min(v, self._h_low), v)
    )
    value = computed("double", lambda self: self._h_value, lambda self, v: self._h_put(v))
    decimals = computed("int", lambda self: self._h_decimals, lambda self, v: self._h_set_decimals(v))

    def setValue(self, value: float) -> None:
        """Set the value, cut to the limits."""
        self.value = value

    def setRange(self, low: float, high: float) -> None:
        """Set both limits."""
        self._h_limits(float(low), max(float(low), float(high)))


@stand_in
class ctkRangeWidget(QtWidgets.QWidget):
    """Two values between limits, the lower never above the upper."""

    _h_signals = (
        "valuesChanged(double,double)",
        "minimumValueChanged(double)",
        "maximumValueChanged(double)",
    )
    singleStep = declared("double", 1.0)
    decimals = declared("int", 2)

    def _h_setup(self) -> None:
        self._h_limits, self._h_values_now = (0.0, 99.0), (0.0, 99.0)

    def setValues(self, low: float, high: float) -> None:
        """Set both values, cut to the limits."""
        inside = [min(max(float(v), self._h_limits[0]), self._h_limits[1]) for v in (low, high)]
        self._h_take(min(inside), max(inside))

    def _h_take(self, low: float, high: float) -> None:
        old, self._h_values_now = self._h_values_now, (low, high)
        if old == (low, high):
            return
        if old[0] != low:
            signals.emit(self, "minimumValueChanged(double)", low)
        if old[1] != high:
            signals.emit(self, "maximumValueChanged(double)", high)
        signals.emit(self, "valuesChanged(double,double)", low, high)

    def _h_bound(self, low: float, high: float) -> None:
        self._h_limits = (low, high)
        self.setValues(*self._h_values_now)

    minimum = computed(
        "double", lambda self: self._h_limits[0], lambda self, v: self._h_bound(v, max(v, self._h_limits[1]))
    )
    maximum = computed(
        "double", lambda self: self._h_limits[1], lambda self, v: self._h_bound(min(v, self._h_limits[0]), v)
    )
    minimumValue = computed(
        "double",
        lambda self: self._h_values_now[0],
        lambda self, v: self.setValues(min(v, self._h_values_now[1]), self._h_values_now[1]),
    )
    maximumValue = computed(
        "double",
        lambda self: self._h_values_now[1],
        lambda self, v: self.setValues(self._h_values_now[0], max(v, self._h_values_now[0])),
    )


@stand_in
class ctkDoubleSpinBox(QtWidgets.QWidget):
    """A spin box that keeps more decimals than it shows."""

    _h_signals = ("valueChanged(double)",)
    minimum = declared("double", 0.0)
    maximum = declared("double", 99.99)
    decimals = declared("int", 2)
    singleStep = declared("double", 1.0)
    suffix = declared("QString", "")
    prefix = declared("QString", "")

    def _h_setup(self) -> None:
        self._h_value = 0.0

    def _h_put(self, value: float) -> None:
        value = min(max(value, self.minimum), self.maximum)
        if value != self._h_value:
            self._h_value = value
            signals.emit(self, "valueChanged(double)", value)

    value = computed("double", lambda self: self._h_value, lambda self, v: self._h_put(v))

    def setValue(self, value: float) -> None:
        """Set the value, cut to the limits."""
        self.value = value
