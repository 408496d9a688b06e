"""Pixels of DICOM files as HU: decoding, odd bits, rescale and padding, slice by slice into int16."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .dicom_headers import EXPLICIT_BIG, UNCOMPRESSED, PixelLayout, Plane
from .native import AIR_HU
from .wording import counted

log = logging.getLogger(__name__)
Raw = npt.NDArray[Any]
RLE = "1.2.840.10008.1.2.5"
HIGHEST_HU = np.iinfo(np.int16).max


def load(planes: list[Plane]) -> tuple[npt.NDArray[np.int16], list[int], list[str]]:
    """Decode planes into one stack.

    Returns:
        stack (n, rows, columns) int16 HU in the order of `planes` (rows of failed planes are undefined), the
        indices of the planes that could not be decoded, and warnings.
    """
    first = planes[0].pixels
    assert first is not None
    stack = np.empty((len(planes), first.rows, first.columns), dtype=np.int16)
    failed: list[int] = []
    padded: set[int] = set()

    def load_file(indices: list[int]) -> None:
        done = 0
        try:
            for index, raw in zip(indices, _decode([planes[i] for i in indices]), strict=True):
                if _to_hu(raw, planes[index], stack[index]):
                    padded.add(index)
                done += 1
        except Exception as error:  # codecs raise almost anything; only these planes are lost
            log.debug("cannot decode %s: %s", planes[indices[0]].path.name, error)
            failed.extend(indices[done:])

    order = sorted(range(len(planes)), key=lambda i: (str(planes[i].path), planes[i].frame))
    files = [list(group) for _, group in groupby(order, key=lambda i: planes[i].path)]
    if first.transfer_syntax in UNCOMPRESSED:
        for file in files:
            load_file(file)
    else:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            list(pool.map(load_file, files))
    warnings = []
    if padded:
        warnings.append(
            f"In {counted(len(padded), 'slice')} a pixel value within the range of tissue is declared as "
            "padding; those pixels were set to air."
        )
    return stack, sorted(failed), warnings


def _decode(planes: list[Plane]) -> Iterator[Raw]:
    """Stored values (rows, columns) of planes of one file, before rescale."""
    layout = planes[0].pixels
    assert layout is not None
    frames = [plane.frame for plane in planes]
    if layout.transfer_syntax not in UNCOMPRESSED:
        yield from _decode_compressed(planes[0].path, layout, frames)
        return
    order = ">" if layout.transfer_syntax == EXPLICIT_BIG else "<"
    kind = "i" if layout.signed else "u"
    dtype = np.dtype(f"{order}{kind}{layout.bits_allocated // 8}")
    count = layout.rows * layout.columns
    shape = (layout.rows, layout.columns)
    if layout.offset is None:
        import pydicom

        values = np.frombuffer(pydicom.dcmread(planes[0].path, force=True).PixelData, dtype)
        for frame in frames:
            yield values[frame * count : (frame + 1) * count].reshape(shape)
        return
    for frame in frames:
        offset = layout.offset + frame * layout.frame_bytes
        yield np.fromfile(planes[0].path, dtype, count, offset=offset).reshape(shape)


def _decode_compressed(path: Path, layout: PixelLayout, frames: list[int]) -> Iterator[Raw]:
    import pydicom
    from pydicom.encaps import generate_frames
    from pydicom.pixels import get_decoder

    ds = pydicom.dcmread(path, force=True)
    if layout.transfer_syntax == RLE:
        decoder = get_decoder(layout.transfer_syntax)
        for frame in frames:
            yield decoder.as_array(ds, index=frame, raw=True)[0]
        return
    wanted = set(frames)
    with tempfile.TemporaryDirectory(prefix="pesemiseg-") as folder:
        offsets = (
            (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths) if "ExtendedOffsetTable" in ds else None
        )
        encoded = generate_frames(ds.PixelData, number_of_frames=layout.frames, extended_offsets=offsets)
        for index, frame_bytes in enumerate(encoded):
            if index in wanted:
                yield _decode_frame(frame_bytes, layout, Path(folder) / "frame.dcm")


def _decode_frame(encoded: bytes, layout: PixelLayout, carrier: Path) -> Raw:
    """Decode one compressed frame with GDCM, which knows every JPEG family exactly.

    GDCM reads files and rescales by itself, and for multi-frame files with the first frame's rescale only.
    So the frame travels in a minimal file of its own that has neither geometry nor rescale.
    """
    import SimpleITK as sitk
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, SecondaryCaptureImageStorage

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(layout.transfer_syntax)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = UID("1.2.3")
    ds.Rows, ds.Columns = layout.rows, layout.columns
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = layout.bits_allocated, layout.bits_stored, layout.high_bit
    ds.PixelRepresentation = int(layout.signed)
    ds.PixelData = encapsulate([encoded])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.save_as(carrier, enforce_file_format=True)
    values = np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(str(carrier), imageIO="GDCMImageIO")))
    if values.shape != (layout.rows, layout.columns):
        raise ValueError("the compressed frame has another size than the header says")
    return values


def _to_hu(raw: Raw, plane: Plane, out: npt.NDArray[np.int16]) -> bool:
    """Write HU into `out` (rows, columns); True if declared padding would have looked like tissue.

    Everything below -1024 HU is padding of some maker (-2000, -3024) and becomes -1024.
    """
    layout = plane.pixels
    assert layout is not None
    slope = plane.slope or 1.0
    intercept = plane.intercept or 0.0
    padding = _padding_beyond_air(plane, slope, intercept)
    values = _stored_values(raw, layout)
    whole = slope == 1 and intercept == int(intercept) and -31000 <= intercept <= 0
    if whole and padding is None and values.dtype == np.int16:
        np.maximum(values, AIR_HU - int(intercept), out=out)
        out += np.int16(intercept)
        return False
    hu = values * slope + intercept
    np.clip(np.rint(hu), AIR_HU, HIGHEST_HU, out=hu)
    out[...] = hu
    if padding is None:
        return False
    mask = (raw >= padding[0]) & (raw <= padding[1])
    out[mask] = AIR_HU
    return bool(mask.any())


def _padding_beyond_air(plane: Plane, slope: float, intercept: float) -> tuple[int, int] | None:
    """The declared padding range, brought to the sign of the pixels; None where it is below air anyway."""
    layout = plane.pixels
    if plane.padding is None or layout is None:
        return None
    turn = 1 << layout.bits_allocated
    low, high = plane.padding
    if layout.signed:
        low, high = (v - turn if v >= turn // 2 else v for v in (low, high))
    else:
        low, high = (v + turn if v < 0 else v for v in (low, high))
    if max(low * slope, high * slope) + intercept <= AIR_HU:
        return None
    return low, high


def _stored_values(raw: Raw, layout: PixelLayout) -> Raw:
    """Clean up bits: stored bits that do not fill the word, and negative numbers in unsigned words.

    A word whose bits above the stored ones are all set is a negative number of a writer who forgot the sign
    or the stored range: 63536 is -2000, a common padding. Other bits up there are overlays and are cut off.
    """
    bits, stored = layout.bits_allocated, layout.bits_stored
    if bits == 8:
        return raw.astype(np.int16)
    shift = layout.high_bit + 1 - stored
    if shift > 0:
        raw = raw >> shift
    low, high = int(raw.min()), int(raw.max())
    if layout.signed:
        if low < -(1 << (stored - 1)) or high >= 1 << (stored - 1):
            wide = raw.astype(np.int64)
            cut = ((wide & ((1 << stored) - 1)) ^ (1 << (stored - 1))) - (1 << (stored - 1))
            return np.where((wide < 0) & (wide >> stored == -1), wide, cut)
        return raw.astype(np.int16, copy=False) if bits == 16 else raw
    if high < 1 << min(stored, 15):
        return raw.astype(np.int16, copy=False)
    wide = raw.astype(np.int64)
    if bits == 16:
        wide = np.where(wide >= 0xF000, wide - (1 << 16), wide)
    return np.where(wide >= 0, wide & ((1 << stored) - 1), wide)
