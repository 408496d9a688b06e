"""Owns whose a segment is: the run's, which leaves a fingerprint on it, or the user's, who changed or drew it."""

import hashlib
from collections.abc import Collection, Iterator

import numpy as np
import slicer
from slicer.i18n import tr as _

from .findings import DRAWN, EDITED, MODEL
from .segments import ALGORITHM_NAME, Part, addSegment, arrayOf, labelmap, partOf, tag

OWN = "PE_"  # the IDs of a run's segments begin so
_FINGERPRINT = "PESemiSeg.Fingerprint"  # tag of a segment: the voxels as the run left them
_SAME_MM = 0.02  # a scene that was saved and opened again is off by rounding
_seen: dict[tuple[str, str, str], tuple[int, bool]] = {}  # how old what was looked at is, and what came of it


def origin(node: "slicer.vtkMRMLSegmentationNode", identity: str) -> str:
    """Whose mark a segment is: MODEL, EDITED or DRAWN."""
    if not isEdited(node, identity):
        return MODEL
    return EDITED if tag(node.GetSegmentation().GetSegment(identity), ALGORITHM_NAME) else DRAWN


def isEdited(node: "slicer.vtkMRMLSegmentationNode", identity: str) -> bool:
    """Whether the user changed a segment since the run that made it, or drew it."""
    segment = node.GetSegmentation().GetSegment(identity)
    stored, voxels = tag(segment, _FINGERPRINT), segment.GetRepresentation(labelmap())
    if not stored or voxels is None:
        return True
    key, now = (node.GetID(), identity, stored), voxels.GetMTime()
    if _seen.get(key, (-1, False))[0] != now:  # large segments take a moment
        _seen[key] = now, not _same(stored, _fingerprint(partOf(node, identity)))
    return _seen[key][1]


def keepEdits(
    node: "slicer.vtkMRMLSegmentationNode", rejected: Collection[str] = ()
) -> Iterator[tuple[str, str]]:
    """Take the last run's segments out; those that the user changed stay under a new ID and name.

    rejected: segments that go even so: they are no embolus, and would come back as one.

    Yields the ID of each that went, and the new one; that is empty where it did not stay.
    """
    segmentation = node.GetSegmentation()
    for identity in list(segmentation.GetSegmentIDs()):
        if not identity.startswith(OWN):
            continue
        new = ""
        if identity not in rejected and isEdited(node, identity):
            kept = slicer.vtkSegment()
            kept.DeepCopy(segmentation.GetSegment(identity))
            kept.SetName(_("{name} (edited)").format(name=kept.GetName()))
            kept.RemoveTag(_FINGERPRINT)
            new = segmentation.GenerateUniqueSegmentID(f"edited_{identity}")
            segmentation.AddSegment(kept, new)
        segmentation.RemoveSegment(identity)
        yield identity, new


def addOwn(
    node: "slicer.vtkMRMLSegmentationNode",
    number: int,
    name: str,
    image: "slicer.vtkOrientedImageData",
    **look,
) -> "slicer.vtkSegment":
    """A segment of this run; `keepEdits` of the next one tells whether the user changed it."""
    segment = addSegment(node, f"{OWN}{number}", name, image, **look)
    segment.SetTag(_FINGERPRINT, _fingerprint(None if image.IsEmpty() else arrayOf(image)))
    return segment


def remember(node: "slicer.vtkMRMLSegmentationNode") -> None:
    """The run's segments have just been made: nobody need look at them again."""
    segmentation = node.GetSegmentation()
    for identity in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(identity)
        if stored := tag(segment, _FINGERPRINT):
            _seen[node.GetID(), identity, stored] = segment.GetRepresentation(labelmap()).GetMTime(), False


def _fingerprint(part: "Part | None") -> str:
    """What is marked, as a hash of its box, and where, as two corners of that in RAS mm; see `_same`.

    The box and the grid's origin may be others once a scene was saved, and positions differ by rounding.
    """
    if part is None or not part[0].any():
        return "empty"
    array, to_ras = part
    spans = [np.flatnonzero(array.any(axes))[[0, -1]] for axes in ((1, 2), (0, 2), (0, 1))]
    box = array[tuple(slice(first, last + 1) for first, last in spans)]
    digest = hashlib.sha256(str(box.shape).encode() + np.packbits(box).tobytes()).hexdigest()[:32]
    corners = to_ras[:3, :3] @ np.array(spans[::-1]) + to_ras[:3, 3:]
    return " ".join([digest, *(f"{at:.3f}" for at in corners.T.ravel())])


def _same(one: str, other: str) -> bool:
    """Whether two fingerprints are of the same marks in the same place."""
    (digest, *places), (other_digest, *other_places) = one.split(), other.split()
    return digest == other_digest and np.allclose(
        np.array(places, float), np.array(other_places, float), rtol=0, atol=_SAME_MM
    )
