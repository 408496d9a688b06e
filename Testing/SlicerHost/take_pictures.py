"""Takes the pictures of the Slicer module: all panels, light and dark, and the views with a result.

`.venv/bin/python Testing/SlicerHost/take_pictures.py SCAN COHORT`: a CTPA to segment with the demo model, and
a folder of labelled patients for the Fine-tune page. Made-up ones, please: the pictures are published.
Look at them afterwards.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
SCREENSHOTS, PICTURES = REPOSITORY / "Resources" / "Screenshots", REPOSITORY / "Docs" / "pictures"
WINDOW, PANEL = (1400, 950), (440, 940)
PAGES = ("segment", "review", "train", "models", "environment")
SEGMENT, REVIEW, TRAIN = range(3)


def main() -> None:
    """Segment, review, look at every page, and write the pictures."""
    scan, cohort = sys.argv[1:3]
    with tempfile.TemporaryDirectory(prefix="pesemiseg-pictures-") as home:
        os.environ["PESEMISEG_HOME"] = home
        import slicer_host

        slicer_host.start()
        import slicer

        slicer.app.userSettings().clear()
        slicer_host.load_module(REPOSITORY / "PESemiSeg" / "PESemiSeg.py")
        window = slicer.util.mainWindow()
        window.resize(*WINDOW)
        window.show()
        slicer.util.selectModule("PESemiSeg")
        shell = slicer.modules.PESemiSegWidget.shell
        _segment(shell, window, scan)
        _review(shell, window)
        _cohort(shell, cohort)
        _panels(shell)
        sys.stdout.flush()
        os._exit(0)  # as it is, without taking the application down


def _until(condition: Any, seconds: float = 3600.0) -> None:
    from slicer_host.driving import Turns

    Turns().until(condition, seconds)


def _segment(shell: Any, window: Any, scan: str) -> None:
    """The Segment page while half of the slices are done, with what is marked so far."""
    import slicer

    panel = shell.segment
    _until(lambda: not shell.environment._monitor.active)  # the look at this computer
    panel.load(scan)
    _until(lambda: panel.ui.inputSelector.currentNode() is not None)
    panel.start(strict=False)
    bar = panel.ui.progressBar
    _until(lambda: not panel.running or (bar.maximum > 1 and bar.value > 0.6 * bar.maximum))
    marked = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    if marked:
        _look_at(marked[0])
    _grab(window, SCREENSHOTS / "segment.png")
    _until(lambda: not panel.running)


def _look_at(segmentation: Any) -> None:
    """Centre the views on the middle of a segmentation's first segment."""
    import slicer
    from PESemiSegUI import views

    first = segmentation.GetSegmentation().GetNthSegmentID(0)
    views.lookAt(segmentation.GetSegmentCenterRAS(first), None)
    slicer.app.processEvents()


def _review(shell: Any, window: Any) -> None:
    """The Review page with the largest finding, and a verdict on the two largest."""
    import slicer

    shell.showPage(REVIEW)
    shell.review.select(0)
    shell.review.accept()  # and on to the next one
    shell.review.reject()
    shell.review.select(0)
    view = slicer.app.layoutManager().threeDWidget(0).threeDView()
    view.resetFocalPoint()
    _grab(window, SCREENSHOTS / "review.png")


def _cohort(shell: Any, folder: str) -> None:
    shell.showPage(TRAIN)
    shell.cohort.addFolder(folder)
    _until(lambda: bool(shell.cohort.cases) and not shell.cohort._monitor.active)
    for index in range(len(shell.cohort.cases) // 2, len(shell.cohort.cases)):
        shell.cohort.setRole(index, "unlabelled")


def _panels(shell: Any) -> None:
    """All pages side by side, in light and in dark."""
    from PySide6 import QtGui, QtWidgets

    application = QtWidgets.QApplication.instance()
    sheet = QtGui.QImage(PANEL[0] * len(PAGES), PANEL[1] * 2, QtGui.QImage.Format.Format_RGB32)
    painter = QtGui.QPainter(sheet)
    shell.widget.setParent(None)
    shell.identify.ui.identifyFold.collapsed = False
    for row, palette in enumerate((application.palette(), _dark())):
        QtWidgets.QApplication.setPalette(palette)
        shell.widget.show()
        for column in range(len(PAGES)):
            shell.showPage(column)
            shell.widget.resize(*PANEL)
            application.processEvents()
            picture = shell.widget.grab()
            painter.drawPixmap(PANEL[0] * column, PANEL[1] * row, picture)
    painter.end()
    sheet.save(str(PICTURES / "slicer_panels.png"))


def _dark() -> Any:
    """A dark palette like that of Slicer's dark style."""
    from PySide6.QtGui import QColor, QPalette

    role, palette = QPalette.ColorRole, QPalette()
    grey, black, white = QColor(53, 53, 53), QColor(35, 35, 35), QColor(240, 240, 240)
    for part in (role.Window, role.Button, role.AlternateBase, role.ToolTipBase):
        palette.setColor(part, grey)
    for part in (role.WindowText, role.Text, role.ButtonText, role.ToolTipText, role.BrightText):
        palette.setColor(part, white)
        palette.setColor(QPalette.ColorGroup.Disabled, part, QColor(128, 128, 128))
    palette.setColor(role.Base, black)
    palette.setColor(role.Highlight, QColor(42, 130, 218))
    palette.setColor(role.HighlightedText, white)
    return palette


def _grab(window: Any, path: Path) -> None:
    import slicer

    slicer.util.forceRenderAllViews()
    slicer.app.processEvents()
    path.parent.mkdir(parents=True, exist_ok=True)
    window.grab().save(str(path))


if __name__ == "__main__":
    main()
