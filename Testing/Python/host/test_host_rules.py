"""PythonQt's rules where the probes do not reach, and the watch over what would only be printed."""

from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("host")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("qt.QLabel('a').text()", TypeError),
        ("setattr(qt.QPushButton(), 'txet', 1)", AttributeError),
        ("setattr(ctk.ctkSliderWidget(), 'vlaue', 1)", AttributeError),
        ("setattr(slicer.qMRMLNodeComboBox(), 'nodeType', [])", AttributeError),
        ("setattr(qt.QTableWidgetItem('a'), 'text', 'b')", AttributeError),
        ("qt.QPushButton().connect('clickd()', print)", ValueError),
        ("slicer.qMRMLNodeComboBox().currentNodeID()", TypeError),
        ("slicer.qMRMLNodeComboBox().setCurrentNode(node=None)", ValueError),
        ("slicer.qMRMLNodeComboBox().currentText", AttributeError),
        ("qt.QLabel(text='a')", ValueError),
        ("qt.QLabel('a').setText(text='b')", ValueError),
        ("ctk.ctkCollapsibleButton('a')", ValueError),
        ("ctk.ctkPathLineEdit().isValid()", AttributeError),
        ("ctk.ctkWorkflow", AttributeError),
        ("qt.QtWidgets", AttributeError),
        ("qt.QSettings().value('a', 1, int)", ValueError),
        ("setattr(qt.QProgressBar(), 'value', '5')", AttributeError),
        ("setattr(qt.QTimer(), 'singleShot', True)", AttributeError),
        ("slicer.app.applicationVersion()", TypeError),
        ("slicer.app.extensionsManagerModel()", AttributeError),
        ("slicer.modules.nope", AttributeError),
        ("slicer.modules.volumes.widgetRepresentation()", NotImplementedError),
        ("__import__('slicer.packaging').packaging.pip_install('x')", RuntimeError),
        ("slicer.i18n.tr('a', 'b')", TypeError),
    ],
)
def test_refused(code: str, error: type[Exception]) -> None:
    import ctk
    import qt
    import slicer

    with pytest.raises(error):
        eval(code, {"qt": qt, "ctk": ctk, "slicer": slicer})


def test_python_subclasses_may_have_attributes_and_override(host: Any) -> None:
    import qt

    class Panel(qt.QWidget):
        def __init__(self) -> None:
            qt.QWidget.__init__(self)
            self.count = 0

        def closeEvent(self, _event: Any) -> None:
            self.count += 1

    panel = Panel()
    panel.show()
    panel.close()
    assert panel.count == 1
    with pytest.raises(AttributeError):
        panel.show = None


def test_slots_get_the_arguments_they_take(host: Any) -> None:
    import qt

    got: list[Any] = []
    button = qt.QPushButton()
    button.checkable = True
    button.connect("clicked(bool)", got.append)
    button.connect("clicked(bool)", lambda: got.append("none"))
    button.clicked.connect(lambda checked=None: got.append((checked,)))
    button.click()
    assert got == [True, "none", (True,)]
    assert button.disconnect("clicked(bool)", got.append)
    assert not button.disconnect("clicked(bool)", got.append)


def test_stand_in_signals_can_be_blocked_and_disconnected(host: Any) -> None:
    import ctk

    got: list[float] = []
    slider = ctk.ctkSliderWidget()
    slider.valueChanged.connect(got.append)
    slider.value = 2
    blocked = slider.blockSignals(True)
    slider.value = 3
    slider.blockSignals(blocked)
    slider.valueChanged.disconnect(got.append)
    slider.value = 4
    assert got == [2.0]


def test_exceptions_in_slots_timers_and_observers_are_failures(host: Any) -> None:
    import qt
    import slicer
    import vtk

    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    node = vtk.vtkObject()
    node.AddObserver("ModifiedEvent", lambda *_: {}["missing"])
    fired: list[int] = []
    with host.expected("ZeroDivisionError"):
        button.click()
    with host.expected("KeyError"):
        node.Modified()
    qt.QTimer.singleShot(1, lambda: fired.append(1) or [][5])
    with host.expected("IndexError"):
        for _ in range(1000):
            slicer.app.processEvents()
            if fired:
                break
            __import__("time").sleep(0.002)
    host.check()


def test_vtk_errors_are_failures(host: Any) -> None:
    import vtk

    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName("/nonexistent/file.vtp")
    with host.expected("VTK error"):
        reader.Update()


def test_unseen_failures_make_check_raise(host: Any) -> None:
    import qt

    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    with pytest.raises(host.UnseenError, match="ZeroDivisionError"):
        host.check()


def test_settings_keep_lists_of_one(host: Any, tmp_path: Any) -> None:
    import shutil

    import qt

    def stored(path: str) -> Any:
        return qt.QSettings(path, qt.QSettings.IniFormat)

    first = stored(str(tmp_path / "a.ini"))
    first.setValue("one", ["a"])
    first.setValue("flag", True)
    first.sync()
    shutil.copy(tmp_path / "a.ini", tmp_path / "b.ini")
    again = stored(str(tmp_path / "b.ini"))
    assert again.value("one") == ("a",)
    assert again.value("flag") == "true"


def test_launcher_hides_the_real_interpreter(host: Any) -> None:
    import subprocess
    import sys

    assert sys.executable.endswith("PythonSlicer")
    assert not hasattr(sys.stdout, "fileno")
    assert not hasattr(sys.stdout, "buffer")
    done = subprocess.run([sys.executable, "-c", "print('ü')"], capture_output=True, check=True)
    assert done.stdout.decode() == "ü\n"


def test_dialogs_of_slicer_util_answer_by_themselves(host: Any) -> None:
    import slicer

    assert slicer.util.confirmYesNoDisplay("Really?") is False
    assert slicer.util.errorDisplay("Wrong") is None
    with pytest.raises(RuntimeError, match="x"), slicer.util.tryWithErrorDisplay("Failed"):
        raise RuntimeError("x")


def test_what_is_not_there_has_no_file_type(host: Any, tmp_path: Any) -> None:
    import slicer

    manager = slicer.app.coreIOManager()
    assert manager.fileType(str(tmp_path / "a.nrrd")) == "NoFile"
    (tmp_path / "a.seg.nrrd").write_text("")
    assert manager.fileType(str(tmp_path / "a.seg.nrrd")) == "SegmentationFile"
    (tmp_path / "a.xyz").write_text("")
    assert manager.fileType(str(tmp_path / "a.xyz")) == "NoFile"
