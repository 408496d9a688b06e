"""Offscreen slice and 3D views on the real slice logic and displayable managers; no Qt."""

from __future__ import annotations

from typing import Any

import numpy as np

SLICE_MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
)
THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
)
SIZE = (400, 400)


class View:
    """A render window with one displayable manager group on one view node."""

    def __init__(self, factory: Any, managers: tuple[str, ...], logic: Any) -> None:
        self._factory, self._managers, self._application = factory, managers, logic
        self.window: Any = None
        self.group: Any = None
        self.size = SIZE

    def open(self, node: Any) -> None:
        """Make the window and its managers."""
        import slicer
        import vtk

        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetShowWindow(False)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*self.size)
        self.renderer = vtk.vtkRenderer()
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self._prepare()
        self._factory.SetMRMLApplicationLogic(self._application)
        for name in self._managers:
            if not self._factory.IsDisplayableManagerRegistered(name):
                self._factory.RegisterDisplayableManager(name)
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.SetRenderer(self.renderer)
        self.group.Initialize(self._factory, self.renderer)
        self.group.SetMRMLDisplayableNode(node)
        self.node = node

    def _prepare(self) -> None:
        """What the kind of view adds before its managers start."""

    def picture(self) -> np.ndarray:
        """Render; uint8 (rows, columns, 3), first row on top."""
        import vtk
        from vtk.util.numpy_support import vtk_to_numpy

        self.window.SetSize(*self.size)
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        columns, rows, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)[::-1, :, :3].copy()

    def close(self) -> None:
        """Let go of the managers before the window, and the window before the scene."""
        if self.window is not None:
            self.group.SetMRMLDisplayableNode(None)
            self.group = None
            self.window.Finalize()
            self.window = None


class SliceView(View):
    """One slice: the slice logic's blended picture under the managers' drawings."""

    def __init__(self, application: Any, slice_logic: Any) -> None:
        import slicer

        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        View.__init__(self, factory, SLICE_MANAGERS, application)
        self.slice_logic = slice_logic

    def _prepare(self) -> None:
        import vtk

        self.window.SetNumberOfLayers(2)
        self.overlay = vtk.vtkRenderer()
        self.overlay.SetLayer(1)
        self.window.AddRenderer(self.overlay)
        for renderer in (self.renderer, self.overlay):
            renderer.GetActiveCamera().ParallelProjectionOn()
        self.mapper = vtk.vtkImageMapper()
        self.mapper.SetColorWindow(255)
        self.mapper.SetColorLevel(127.5)
        self.actor = vtk.vtkActor2D()
        self.actor.SetMapper(self.mapper)
        self.actor.GetProperty().SetDisplayLocationToBackground()

    def picture(self) -> np.ndarray:
        """Render the slice at the size of the view."""
        self.slice_logic.ResizeSliceNode(*self.size)
        blended = self.slice_logic.GetImageDataConnection()
        self.renderer.RemoveViewProp(self.actor)
        if blended is not None:
            self.mapper.SetInputConnection(blended)
            self.renderer.AddViewProp(self.actor)
        return View.picture(self)


class ThreeDView(View):
    """The 3D view."""

    def __init__(self, application: Any) -> None:
        import slicer

        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        View.__init__(self, factory, THREE_D_MANAGERS, application)

    def look_at_everything(self) -> None:
        """Fit the box around what is visible, as the application does, and the camera around the box."""
        import slicer

        self.node.InvokeEvent(slicer.vtkMRMLViewNode.ResetFocalPointRequestedEvent)
        self.window.Render()
        self.renderer.ResetCamera()
        self.renderer.ResetCameraClippingRange()
