"""slicer.app.coreIOManager(): loading and saving of volumes, segmentations, tables, scenes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from PySide6 import QtCore

from ..qt_rules.stand_in import stand_in

# suffix -> file type; the longest suffix that fits decides
TYPES = {
    ".seg.nrrd": "SegmentationFile",
    ".nrrd": "VolumeFile",
    ".nhdr": "VolumeFile",
    ".nii": "VolumeFile",
    ".nii.gz": "VolumeFile",
    ".mha": "VolumeFile",
    ".mrk.json": "MarkupsFile",
    ".mrml": "SceneFile",
    ".mrb": "SceneFile",
    ".tsv": "TableFile",
    ".csv": "TableFile",
    ".txt": "TextFile",
    ".h5": "TransformFile",
    ".tfm": "TransformFile",
}
# node class -> (file type, storage format)
WRITERS = {
    "vtkMRMLSegmentationNode": "SegmentationFile",
    "vtkMRMLVolumeNode": "VolumeFile",
    "vtkMRMLTableNode": "TableFile",
    "vtkMRMLMarkupsNode": "MarkupsFile",
    "vtkMRMLTransformNode": "TransformFile",
    "vtkMRMLTextNode": "TextFile",
    "vtkMRMLModelNode": "ModelFile",
    "vtkMRMLScene": "SceneFile",
}
NODE_CLASSES = {
    "SegmentationFile": "vtkMRMLSegmentationNode",
    "TableFile": "vtkMRMLTableNode",
    "TextFile": "vtkMRMLTextNode",
}


@stand_in
class qSlicerIOManager(QtCore.QObject):
    """Loads and saves with the scene's own storage nodes."""

    def _h_setup(self) -> None:
        self._h_parts: dict[str, Any] = {}

    def fileType(self, path: Any) -> str:
        """Type of an existing file; 'NoFile' for what does not exist or is not known."""
        name = str(path).lower()
        fits = [suffix for suffix in TYPES if name.endswith(suffix)]
        return TYPES[max(fits, key=len)] if fits and os.path.exists(path) else "NoFile"

    def fileWriterFileType(self, node: Any) -> str:
        """Type that a node is saved as."""
        for class_name, kind in WRITERS.items():
            if node.IsA(class_name):
                return kind
        raise NotImplementedError(f"the host does not save {node.GetClassName()}")

    def loadNodes(
        self, kind: str, properties: dict[str, Any], loaded: Any = None, messages: Any = None
    ) -> bool:
        """Load one file; nodes go into `loaded`, sentences into `messages`."""
        path, scene = str(properties["fileName"]), self._h_parts["scene"]
        if kind not in {
            *NODE_CLASSES,
            "VolumeFile",
            "SceneFile",
            "MarkupsFile",
            "TransformFile",
            "ModelFile",
        }:
            raise NotImplementedError(f"the host does not load {kind!r}")
        nodes = self._h_load(kind, path, properties, scene) if os.path.exists(path) else None
        if nodes is None:
            if messages is not None:
                messages.AddMessage(_error_event(), f"Loading {path} -  load failed.")
            return False
        for node in nodes:
            if loaded is not None:
                loaded.AddItem(node)
        return True

    def _h_load(self, kind: str, path: str, properties: dict[str, Any], scene: Any) -> list[Any] | None:
        import slicer

        name = properties.get("name") or _stem(path)
        if kind == "SceneFile":
            return [] if _load_scene(scene, path, bool(properties.get("clear", False))) else None
        if kind == "VolumeFile":
            options = 1 if properties.get("labelmap") else 0
            if properties.get("singleFile"):
                options |= 8
            node = slicer.modules.volumes.logic().AddArchetypeVolume(path, name, options)
            if node is not None and properties.get("show", True):
                selection = self._h_parts["logic"].GetSelectionNode()
                selection.SetActiveVolumeID(node.GetID())
                self._h_parts["logic"].PropagateVolumeSelection()
            return None if node is None else [node]
        if kind == "MarkupsFile":
            identity = slicer.modules.markups.logic().LoadMarkups(path, name)
            return [scene.GetNodeByID(identity)] if identity else None
        if kind not in NODE_CLASSES:
            raise NotImplementedError(f"the host does not load {kind!r}")
        node = scene.AddNewNodeByClass(NODE_CLASSES[kind], scene.GenerateUniqueName(name))
        node.AddDefaultStorageNode(path)
        if not node.GetStorageNode().ReadData(node):
            scene.RemoveNode(node)
            return None
        if hasattr(node, "CreateDefaultDisplayNodes"):
            node.CreateDefaultDisplayNodes()
        return [node]

    def saveNodes(self, kind: str, properties: dict[str, Any], messages: Any = None) -> bool:
        """Save one node, or the scene; missing folders are made."""
        path, scene = str(properties["fileName"]), self._h_parts["scene"]
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if kind == "SceneFile":
            return _save_scene(scene, path)
        node = scene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode(path)
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        if "useCompression" in properties:
            storage.SetUseCompression(bool(properties["useCompression"]))
        return bool(storage.WriteData(node))

    def extractKnownExtension(self, path: str, _node: Any) -> str:
        """The longest known suffix of a file name."""
        fits = [suffix for suffix in TYPES if str(path).lower().endswith(suffix)]
        return max(fits, key=len) if fits else ""

    def fileWriterExtensions(self, node: Any) -> list[str]:
        """Formats a node can be saved in, as 'name (.suffix)'."""
        kind = self.fileWriterFileType(node)
        return [f"{kind} ({suffix})" for suffix, known in TYPES.items() if known == kind]

    def exportNodes(
        self, identities: Any, paths: Any, properties: dict[str, Any], world: bool, messages: Any = None
    ) -> bool:
        """Write copies of nodes; the nodes keep their storage. Transforms cannot be applied here."""
        if world:
            raise NotImplementedError("the host does not export in world coordinates")
        scene, done = self._h_parts["scene"], True
        for identity, path in zip(identities, paths, strict=True):
            node = scene.GetNodeByID(identity)
            storage = node.CreateDefaultStorageNode()
            storage.SetFileName(str(path))
            done = bool(storage.WriteData(node)) and done
            storage.UnRegister(None)
        return done


def _stem(path: str) -> str:
    name = Path(path).name
    fits = [suffix for suffix in TYPES if name.lower().endswith(suffix)]
    return name[: -len(max(fits, key=len))] if fits else name


def _error_event() -> int:
    import vtk

    return vtk.vtkCommand.ErrorEvent


def _load_scene(scene: Any, path: str, clear: bool) -> bool:
    if clear:
        scene.Clear(False)
    if path.endswith(".mrb"):
        return bool(scene.ReadFromMRB(path, False))
    scene.SetURL(path)
    return bool(scene.Import())


def _save_scene(scene: Any, path: str) -> bool:
    if path.endswith(".mrb"):
        return bool(scene.WriteToMRB(path, None))
    if not path.endswith(".mrml"):
        raise NotImplementedError("the host saves scenes as .mrml or .mrb")
    scene.SetURL(path)
    return bool(scene.Commit())
