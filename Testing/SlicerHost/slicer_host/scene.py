"""The real MRML scene with the real module logics, wired as the application wires them at start-up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# module key -> (name registered with the application logic, class of the logic)
LOGICS = {
    "volumes": ("Volumes", "vtkSlicerVolumesLogic"),
    "cameras": ("Cameras", "vtkSlicerCamerasModuleLogic"),
    "units": ("Units", "vtkSlicerUnitsLogic"),
    "terminologies": ("Terminologies", "vtkSlicerTerminologiesModuleLogic"),
    "subjecthierarchy": ("SubjectHierarchy", "vtkSlicerSubjectHierarchyModuleLogic"),
    "segmentations": ("Segmentations", "vtkSlicerSegmentationsModuleLogic"),
    "markups": ("Markups", "vtkSlicerMarkupsLogic"),
    "models": ("Models", "vtkSlicerModelsLogic"),
    "plots": ("Plots", "vtkSlicerPlotsLogic"),
    "tables": ("Tables", "vtkSlicerTablesLogic"),
    "texts": ("Texts", "vtkSlicerTextsLogic"),
    "transforms": ("Transforms", "vtkSlicerTransformLogic"),
    "sequences": ("Sequences", "vtkSlicerSequencesLogic"),
    "data": ("Data", "vtkSlicerDataModuleLogic"),
    "reformat": ("Reformat", "vtkSlicerReformatLogic"),
    "volumerendering": ("VolumeRendering", "vtkSlicerVolumeRenderingLogic"),
    "annotations": ("Annotations", "vtkSlicerAnnotationModuleLogic"),
}
_kept: list[Any] = []  # logics that only the scene uses, and does not hold
TERMINOLOGIES = Path(__file__).with_name("terminologies")


def build(home: str, temporary: str) -> tuple[Any, Any, dict[str, Any]]:
    """Make (scene, application logic, {module key: logic}); `home` and `temporary` are folders."""
    import slicer
    import vtk

    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetHomeDirectory(home)
    Path(home, "share", "ColorFiles").mkdir(parents=True)  # the wheel has no colour files: none are found
    application.SetShareDirectory("share")
    application.SetTemporaryPath(temporary)
    application.SetMRMLScene(scene)
    application.SetSliceLogics(vtk.vtkCollection())
    application.SetViewLogics(vtk.vtkCollection())
    logics = {"colors": _color_logic(scene, application)}
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    for key, (name, class_name) in LOGICS.items():
        logics[key] = _logic(class_name, name, scene, application)
    _wire_remote_io(scene, application)
    return scene, application, logics


def _color_logic(scene: Any, application: Any) -> Any:
    import slicer

    logic = slicer.vtkSlicerColorLogic()
    logic.SetMRMLApplicationLogic(application)  # this one needs it before the scene
    application.SetModuleLogic("Colors", logic)
    logic.SetMRMLScene(scene)
    application.SetColorLogic(logic)
    return logic


def _logic(class_name: str, name: str, scene: Any, application: Any) -> Any:
    import slicer

    logic = getattr(slicer, class_name)()
    if name == "Terminologies":
        logic.SetModuleShareDirectory(str(TERMINOLOGIES))  # read when the scene is set
    logic.SetMRMLApplicationLogic(application)
    application.SetModuleLogic(name, logic)
    logic.SetMRMLScene(scene)
    return logic


def _wire_remote_io(scene: Any, application: Any) -> None:
    """What the scene needs to write and read bundles (.mrb)."""
    import slicer

    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.SetMRMLScene(scene)
    remote.AddDataIOToScene()
    manager = slicer.vtkDataIOManagerLogic()
    manager.SetMRMLApplicationLogic(application)
    manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
    _kept.extend((remote, manager))


def register_modules(manager: Any, logics: dict[str, Any]) -> None:
    """Make slicer.modules.<key> of every logic."""
    from .application.modules import qSlicerLoadableModule, register

    names = {"colors": "Colors"} | {key: name for key, (name, _) in LOGICS.items()}
    for key, logic in logics.items():
        module = qSlicerLoadableModule()
        module.name = module.title = names[key]
        module._h_logic = logic
        register(manager, module)
