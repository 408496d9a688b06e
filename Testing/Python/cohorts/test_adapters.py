"""The other data sets and layouts, each on small files in its own format."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from PESemiSegLib.cohorts.adapters import ADAPTERS, adapter_for
from PESemiSegLib.cohorts.build import BuildOptions, build_manifest
from PESemiSegLib.cohorts.manifest import Manifest, read_manifest, write_manifest
from PESemiSegLib.errors import ConfigError, InputError
from PESemiSegLib.volumes import read
from PESemiSegLib.volumes.dicom_seg import write_dicom_seg
from PESemiSegLib.volumes.seg_nrrd import write_seg_nrrd
from PESemiSegLib.volumes.segments import EMBOLUS, Code, SegmentInfo

LIVER = SegmentInfo("Liver", (1, 2, 3), EMBOLUS.category, Code("10200004", "SCT", "Liver"), EMBOLUS.region)


def _build(root: Path, layout: str, **options) -> Manifest:
    assert adapter_for(root).name == layout  # found without being named
    return build_manifest(root, BuildOptions(root.parent / "masks", **options))


def _is_true(case, sets) -> bool:
    return bool(np.array_equal(read(case.mask).hu > 0, sets.mask > 0))


def test_cad_pe_pairs_three_digits_with_four_and_numbers_the_clots(tmp_path, sets):
    root = tmp_path / "set"
    labels = sets.mask.astype(np.int16)
    labels[3] *= 2
    sets.image(root / "images/001.nrrd", sets.hu)
    sets.image(root / "images/012.nrrd", sets.chest(3)[0])
    sets.image(root / "images/e0001.nrrd", sets.chest(4)[0])
    sets.image(root / "rs/0001RefStd.nrrd", labels)
    sets.image(
        root / "rs/0012RefStd.nrrd", sets.mask, origin=(7, 7, 7)
    )  # its header is off, its array is not
    first, second, test = _build(root, "cad_pe")
    assert first.lesions == first.mask
    np.testing.assert_array_equal(read(first.lesions).hu, labels)
    assert (first.patient, first.pe, second.lesions) == ("CADPE001", "yes", None)
    assert _is_true(second, sets)
    assert any("voxel by voxel" in text for text in second.problems)
    assert (test.role, test.mask) == ("unlabelled", None)


@pytest.mark.parametrize("descending", [False, True])
def test_read_masks_follow_the_files_whatever_their_header_says(tmp_path, sets, descending):
    root = tmp_path / "set"
    sets.dicom(root / "images/GE (DICOM files)/01GE", sets.hu, descending=descending, name="I{}.dcm")
    stored = sets.mask[::-1] if descending else sets.mask
    sets.image(root / "rs/01GE.nii.gz", stored, spacing=(0.8, 0.8, 2.0003), origin=(0, 0, 0))
    (case,) = _build(root, "read")
    assert _is_true(case, sets)
    assert case.patient == "READ-01GE"


def test_rspect_studies_become_the_unlabelled_pool(tmp_path, sets):
    root = tmp_path / "set"
    rows = ["StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID,pe_present_on_image,indeterminate,qa_contrast"]
    for study, pe, indeterminate, contrast in (
        ("s1", 1, 0, 0),
        ("s2", 0, 0, 1),
        ("s3", 0, 1, 0),
        ("gone", 1, 0, 0),
    ):
        rows += [f"{study},x{study},i{n},{int(pe and n == 2)},{indeterminate},{contrast}" for n in range(3)]
        if study != "gone":
            sets.dicom(root / "train" / study / f"x{study}", sets.chest(len(rows))[0])
    (root / "train.csv").write_text("\n".join(rows))
    manifest = _build(root, "rspect", open_scans=False)
    assert [(c.role, c.pe, c.mask) for c in manifest] == [
        ("unlabelled", "yes", None),
        ("unlabelled", "no", None),
        ("unlabelled", "", None),
    ]
    assert manifest.cases[1].problems == ("poor contrast",)


@pytest.mark.parametrize("last", ["s", "s1", "s1,", "s1,x", "s1,xs1,i3"])
def test_rspect_refuses_a_table_that_is_cut_off(tmp_path, last):
    (tmp_path / "train/s1/xs1").mkdir(parents=True)
    header = "StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID,pe_present_on_image"
    (tmp_path / "train.csv").write_text(f"{header}\ns1,xs1,i1,1\n{last}")
    with pytest.raises(InputError, match=r"train\.csv is cut off in line 3; download it again"):
        list(ADAPTERS["rspect"].entries(tmp_path))
    with pytest.raises(InputError, match=r"^train\.csv of RSPECT cannot be read: No such file"):
        list(ADAPTERS["rspect"].entries(tmp_path / "train"))  # no path of the machine


@pytest.mark.parametrize("decathlon", [False, True])
def test_nnunet_and_decathlon(tmp_path, sets, decathlon):
    root, channel = tmp_path / "Dataset501_PE", "" if decathlon else "_0000"
    labels = sets.mask.copy()
    labels[6, 40:44, 44:50] = 2  # an artery
    sets.image(root / f"imagesTr/PE_001{channel}.nii.gz", sets.hu)
    sets.image(root / f"imagesTr/PE_002{channel}.nii.gz", sets.chest(5)[0])
    sets.image(root / f"imagesTs/PE_003{channel}.nii.gz", sets.chest(6)[0])
    for name in ("PE_001", "PE_002"):
        sets.image(root / f"labelsTr/{name}.nii.gz", labels)
    names = {"background": 0, "embolus": 1, "artery": 2}
    named = {str(v): k for k, v in names.items()} if decathlon else names
    (root / "dataset.json").write_text(json.dumps({"labels": named}))
    manifest = _build(root, "nnunet")
    assert [(c.patient, c.role) for c in manifest] == [
        ("PE_001", "labelled"),
        ("PE_002", "labelled"),
        ("PE_003", "unlabelled"),
    ]
    assert all(_is_true(case, sets) for case in manifest.select(role="labelled"))
    (root / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "left": 1, "right": 2}}))
    with pytest.raises(InputError, match="call the one for emboli"):
        build_manifest(root, BuildOptions(tmp_path / "masks"))


@pytest.mark.parametrize(
    ("images", "masks", "cases"),
    [
        ("Tr/PE_0001 Tr/PE_0002 Ts/PE_0003", "Tr/PE_0001 Tr/PE_0002", "PE_0001* PE_0002* PE_0003"),
        ("Tr/PE_0000 Tr/PE_0001 Ts/PE_0000", "Tr/PE_0001", "PE_0000 PE_0001* PE_0000"),
        ("Tr/PE1_2019 Tr/PE2_2020", "", "PE1_2019 PE2_2020"),
        ("Tr/a_0000 Tr/b_0000 Ts/c_0000", "Tr/a Tr/b", "a* b* c"),
        ("Tr/a_0001 Ts/c_0000", "Tr/a", "a* c"),
        ("Tr/a_0000 Ts/PE_2019", "Tr/a", "a* PE_2019"),
    ],
)
def test_nnunet_tells_a_channel_from_a_case_that_ends_in_digits(tmp_path, images, masks, cases):
    """cases: those found, in order, with a star where there is a mask; none is unclear."""
    for kind, names in (("images", images), ("labels", masks)):
        for name in names.split():
            (tmp_path / f"{kind}{name}.nii.gz").parent.mkdir(exist_ok=True)
            (tmp_path / f"{kind}{name}.nii.gz").touch()
    entries = list(adapter_for(tmp_path).entries(tmp_path))
    assert " ".join(entry.patient + "*" * bool(entry.mask) for entry in entries) == cases
    assert not any(entry.problem for entry in entries)


@pytest.mark.parametrize(
    ("scan", "mask"),
    [
        ("images/p7.nii.gz", "masks/p7.nii.gz"),
        ("images/p7_0000.nii.gz", "labels/p7_mask.nrrd"),
        ("p7/ct.nii.gz", "p7/mask.nii.gz"),
        ("p7_ct.nrrd", "p7_seg.nrrd"),
        ("p7/series/", "p7/label.nii.gz"),
        ("p7/study/ct.nii.gz", "p7/study/mask.nii.gz"),
    ],
)
def test_plain_pairs(tmp_path, sets, scan, mask):
    root = tmp_path / "set"
    sets.dicom(root / scan, sets.hu) if scan.endswith("/") else sets.image(root / scan, sets.hu)
    sets.image(root / mask, sets.mask)
    (case,) = _build(root, "pairs", site="B", label_style="generous")
    assert (case.patient, case.site, case.label_style, case.role) == ("p7", "B", "generous", "labelled")
    assert case.mask == root / mask  # read where it is, not copied
    assert _is_true(case, sets)


def test_pairs_that_are_unclear_or_on_another_grid_are_left_out_with_the_reason(tmp_path, sets):
    root = tmp_path / "set"
    for n, patient in enumerate(("a", "b", "c", "d")):
        sets.image(root / patient / "ct.nii.gz", sets.chest(n)[0])
        sets.image(root / patient / "mask.nii.gz", sets.mask)
    sets.image(root / "a/mask_second.nii.gz", sets.mask)
    sets.image(root / "b/mask.nii.gz", sets.mask, origin=(0, 0, 0))
    (root / "c/ct.nii.gz").write_bytes(b"no image")
    manifest = _build(root, "pairs")
    said = [case.problems[-1] if case.role == "excluded" else "" for case in manifest]
    assert [case.role for case in manifest] == ["excluded"] * 3 + ["labelled"]
    for text, part in zip(said, ("2 masks", "does not lie on the scan's grid", "ct.nii.gz", ""), strict=True):
        assert part in text


@pytest.mark.parametrize(
    ("there", "lost"),
    [
        (("images/p1.nii", "images/p2.nii", "masks/p1.nii"), "masks/p2_lesion.nii"),
        (("p1_ct.nii", "p2_ct.nii", "p1_mask.nii"), "p3_mask.nii"),
        (("p1/ct.nii", "p2/ct.nii", "p1/mask.nii"), "p3/mask.nii"),
    ],
)
def test_a_mask_that_fits_no_scan_is_listed(tmp_path, there, lost):
    for name in (*there, lost):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"not looked into")
    options = BuildOptions(tmp_path / "masks", role="unlabelled", open_scans=False)
    *scans, left_over = build_manifest(tmp_path / "set", options, layout="pairs")
    assert [case.role for case in scans] == ["unlabelled"] * 2
    assert (left_over.role, left_over.image) == ("excluded", tmp_path / "set" / lost)
    assert left_over.patient == ("p2_lesion" if "lesion" in lost else "p3")
    assert left_over.problems == (f"{Path(lost).name} is a mask without a scan",)


def _slicer(path: Path, sets, volume, segments, labels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_seg_nrrd(path, labels.astype(np.uint8), volume.grid, segments)


@pytest.mark.parametrize(
    ("scan", "mask"),
    [("ct", "p1"), ("study/ct", "study/a"), ("study/ct", "study/ct/a"), ("study/ct", "a")],
)
def test_seg_nrrd_takes_the_embolus_by_its_terminology(tmp_path, sets, scan, mask):
    root = tmp_path / "set"
    volume = read(sets.dicom(root / "p1" / scan, sets.hu))
    renamed = SegmentInfo("Segment_2", (9, 9, 9), EMBOLUS.category, EMBOLUS.type, EMBOLUS.region)
    labels = sets.mask * 2
    labels[0, :5] = 1
    _slicer(root / f"p1/{mask}.seg.nrrd", sets, volume, (LIVER, renamed), labels)
    (case,) = _build(root, "seg_nrrd")
    assert (case.patient, case.image) == ("p1", root / "p1" / scan)
    assert _is_true(case, sets)


def test_seg_nrrd_cropped_or_layered_lands_on_the_scan(tmp_path, sets):
    from PESemiSegLib.cohorts.adapters.seg_nrrd import mask_reader

    volume = read(sets.image(tmp_path / "p1.nii.gz", sets.hu))
    whole = tmp_path / "p1.seg.nrrd"
    _slicer(whole, sets, volume, (EMBOLUS,), sets.mask)
    image = sitk.ReadImage(str(whole))
    sitk.WriteImage(image[10:25, 20:35, 1:5], str(whole))  # as Slicer crops it: slicing drops no key
    cropped = sitk.ReadImage(str(whole))
    if not cropped.HasMetaDataKey("Segment0_ID"):
        for key in image.GetMetaDataKeys():
            cropped.SetMetaData(key, image.GetMetaData(key))
        sitk.WriteImage(cropped, str(whole))
    np.testing.assert_array_equal(mask_reader(whole)(volume).labels, sets.mask)
    other = np.zeros_like(sets.mask)
    layers = sitk.Compose([sitk.GetImageFromArray(other), sitk.GetImageFromArray(sets.mask)])
    layers.CopyInformation(image)
    for key in image.GetMetaDataKeys():
        if key.startswith("Segment0_"):
            layers.SetMetaData(key, image.GetMetaData(key))
    layers.SetMetaData("Segment0_Layer", "1")
    sitk.WriteImage(layers, str(tmp_path / "layers.seg.nrrd"))
    np.testing.assert_array_equal(mask_reader(tmp_path / "layers.seg.nrrd")(volume).labels, sets.mask)


def test_a_segmentation_of_something_else_or_of_another_place_is_refused(tmp_path, sets):
    from PESemiSegLib.cohorts.adapters.seg_nrrd import mask_reader

    volume = read(sets.image(tmp_path / "p1.nii.gz", sets.hu))
    away = read(sets.image(tmp_path / "p2.nii.gz", sets.hu, origin=(900, 0, 0)))
    _slicer(tmp_path / "liver.seg.nrrd", sets, volume, (LIVER,), sets.mask)
    _slicer(tmp_path / "away.seg.nrrd", sets, away, (EMBOLUS,), sets.mask)
    with pytest.raises(InputError, match=r"no segment that is an embolus \(there is: Liver"):
        mask_reader(tmp_path / "liver.seg.nrrd")(volume)
    with pytest.raises(InputError, match="marks nothing within the scan"):
        mask_reader(tmp_path / "away.seg.nrrd")(volume)


@pytest.mark.parametrize("descending", [False, True])
def test_dicom_seg_is_read_by_the_slices_it_refers_to(tmp_path, sets, descending):
    root = tmp_path / "set"
    volume = read(sets.dicom(root / "p1/ct", sets.hu, descending=descending))
    sets.dicom(root / "p2/ct", sets.chest(2)[0])
    (root / "p1/seg").mkdir()
    assert write_dicom_seg(root / "p1/seg/seg.dcm", sets.mask, volume).written
    first, second = _build(root, "dicom_seg")
    assert (first.patient, first.role, second.patient, second.role) == ("p1", "labelled", "p2", "unlabelled")
    assert _is_true(first, sets)
    assert "SECRET" not in "".join(p.read_text("latin-1") for p in (tmp_path / "masks").iterdir())


def _with_seg(folder: Path, sets, seg: Path, n: int = 0) -> Path:
    """A CT in a folder, its DICOM SEG elsewhere; both of the same patient."""
    volume = read(sets.dicom(folder, sets.chest(n)[0], patient=f"ID-{n}"))
    seg.parent.mkdir(parents=True, exist_ok=True)
    assert write_dicom_seg(seg, sets.mask, volume).written
    return seg


@pytest.mark.parametrize("name", ["SEG.dcm", "D0004a.dcm", "1.2.826.0.1.9"])
def test_a_dicom_seg_among_the_slices_is_found(tmp_path, sets, name):
    root = tmp_path / "set"
    for n, patient in enumerate(("p1", "p2")):
        _with_seg(root / patient, sets, root / patient / name, n)
    cases = _build(root, "dicom_seg")
    assert [(case.patient, case.role) for case in cases] == [("p1", "labelled"), ("p2", "labelled")]
    assert all(_is_true(case, sets) for case in cases)


def test_recognising_a_dicom_seg_reads_few_headers(tmp_path, sets, monkeypatch):
    from PESemiSegLib.cohorts.adapters import dicom_seg

    seen: list[Path] = []
    monkeypatch.setattr(dicom_seg, "_header", lambda path: seen.append(path))
    (tmp_path / "p1" / "ct").mkdir(parents=True)
    for n in range(300):
        (tmp_path / "p1" / "ct" / f"{n}.dcm").write_bytes(bytes(n))
    assert not ADAPTERS["dicom_seg"].recognises(tmp_path)
    assert 0 < len(seen) <= 8


def test_one_patient_with_a_folder_of_dicom_seg_is_told_of_its_layout(tmp_path, sets):
    """Folders called CT and SEG look like pairs of files; the layout can be named."""
    _with_seg(tmp_path / "set/CT", sets, tmp_path / "set/SEG/seg.dcm")
    options = BuildOptions(tmp_path / "masks")
    with pytest.raises(InputError, match=r"no scan beside a mask; .*dicom_seg"):
        build_manifest(tmp_path / "set", options)
    (case,) = build_manifest(tmp_path / "set", options, layout="dicom_seg")
    assert _is_true(case, sets)


def test_a_dicom_seg_without_its_series_is_listed(tmp_path, sets):
    root = tmp_path / "set"
    _with_seg(root / "p1/ct", sets, root / "p1/seg/seg.dcm", 1)
    lost = _with_seg(tmp_path / "elsewhere", sets, root / "p2/seg/lost.dcm", 2)
    first, second = _build(root, "dicom_seg")
    assert (first.patient, first.role, second.patient, second.role) == ("p1", "labelled", "p2", "excluded")
    assert (second.image, second.problems) == (lost, ("lost.dcm is a DICOM SEG without its series",))
    with pytest.raises(InputError, match=r"No scan of p2 can be used; .*without its series"):
        build_manifest(root / "p2", BuildOptions(tmp_path / "masks"))


@pytest.mark.parametrize("kept", [0, 153])
def test_a_damaged_file_beside_a_dicom_seg_costs_no_scan(tmp_path, sets, kept):
    """An empty file, and one cut within its header, where pydicom raises an error of `struct`."""
    root = tmp_path / "set"
    _with_seg(root / "p1/ct", sets, root / "p1/seg/seg.dcm", 1)
    sets.dicom(root / "p2", sets.chest(2)[0], patient="ID-2")
    part = (root / "p2/D0001.dcm").read_bytes()[:kept]
    for name in ("p1/ct/D0000.dcm", "p1/ct/D9999.dcm", "p1/seg/9999.dcm", "p3/D0001.dcm"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(part)
    cases = _build(root, "dicom_seg")
    assert [(case.patient, case.role) for case in cases] == [
        ("p1", "labelled"),
        ("p2", "unlabelled"),
        ("p3", "excluded"),
    ]
    assert _is_true(cases.cases[0], sets)


def test_dicom_seg_by_place_agrees_with_by_source(tmp_path, sets):
    import highdicom as hd

    from PESemiSegLib.cohorts.adapters.dicom_seg import _by_place

    volume = read(sets.dicom(tmp_path / "ct", sets.hu))
    write_dicom_seg(tmp_path / "seg.dcm", sets.mask, volume)
    np.testing.assert_array_equal(_by_place(hd.seg.segread(tmp_path / "seg.dcm"), [1], volume), sets.mask)


def _fractional_seg(path: Path, share: np.ndarray, volume) -> Path:
    """A DICOM SEG that says of each voxel how likely it is embolus, `share` within 0 to 1 (z, y, x)."""
    import highdicom as hd
    from pydicom import dcmread
    from pydicom.sr.coding import Code as Coded

    embolus = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="Embolus",
        segmented_property_category=Coded("49755003", "SCT", "Morphologically Altered Structure"),
        segmented_property_type=Coded("55584005", "SCT", "Embolus"),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
    )
    seg = hd.seg.Segmentation(
        source_images=[dcmread(file) for file in volume.facts.source_files],
        pixel_array=volume.to_source(share.astype(np.float32)),
        segmentation_type=hd.seg.SegmentationTypeValues.FRACTIONAL,
        segment_descriptions=[embolus],
        series_instance_uid=hd.UID(),
        series_number=9,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="none",
        manufacturer_model_name="none",
        software_versions="0",
        device_serial_number="0",
    )
    path.parent.mkdir(exist_ok=True)
    seg.save_as(path)
    return path


def test_a_fractional_dicom_seg_marks_from_one_half_and_says_so(tmp_path, sets):
    import highdicom as hd

    from PESemiSegLib.cohorts.adapters.dicom_seg import _by_place

    root = tmp_path / "set"
    share = np.where(sets.mask > 0, 0.9, 0.0)
    share[1:4, 30:33, 12:20] = 0.3  # a rim that is more likely none
    for name, n, sure in (("p1", 0, 1.0), ("p2", 2, 0.5)):
        volume = read(sets.dicom(root / name / "ct", sets.chest(n)[0]))
        _fractional_seg(root / name / "seg/seg.dcm", sure * share, volume)
    marked, empty = _build(root, "dicom_seg")
    assert _is_true(marked, sets)
    assert marked.pe == "yes"
    assert any("voxels of at least one half" in text for text in marked.problems)
    assert (empty.role, empty.pe) == ("labelled", "no")
    assert any("the mask marks nothing" in text for text in empty.problems)
    seg = hd.seg.segread(_fractional_seg(tmp_path / "p3/seg.dcm", share, volume))
    np.testing.assert_array_equal(_by_place(seg, [1], volume), sets.mask)
    with pytest.raises(InputError, match="marks nothing within the scan"):
        _by_place(seg, [1], read(sets.image(tmp_path / "away.nii.gz", sets.hu, origin=(900, 0, 0))))


def test_real_dicom_seg_of_a_liver_is_refused_by_its_terminology(shared_data):
    from PESemiSegLib.cohorts.adapters.dicom_seg import mask_reader

    volume = read(shared_data / "dcmqi_seg" / "ct-3slice")
    with pytest.raises(InputError, match="no segment that is an embolus"):
        mask_reader(shared_data / "dcmqi_seg" / "liver.dcm")(volume)


def test_scans_of_a_hospital_know_their_patients_without_naming_them(tmp_path, sets):
    root = tmp_path / "set"
    sets.dicom(root / "x/first", sets.chest(1)[0], patient="ID-1")
    sets.dicom(root / "y/follow-up", sets.chest(2)[0], patient="ID-1")
    sets.dicom(root / "z", sets.chest(3)[0], patient="ID-2")
    sets.image(root / "loose_0000.nii.gz", sets.chest(4)[0])
    sets.image(root / "w/ct.nrrd", sets.chest(5)[0])
    manifest = _build(root, "scans", site="ours")
    patients = {case.image.relative_to(root).as_posix(): case.patient for case in manifest}
    assert patients["x/first"] == patients["y/follow-up"] == "x"
    assert (patients["z"], patients["loose_0000.nii.gz"], patients["w/ct.nrrd"]) == ("z", "loose", "w")
    assert all(case.role == "unlabelled" for case in manifest)
    write_manifest(manifest, tmp_path / "m.csv")
    assert "ID-" not in (tmp_path / "m.csv").read_text()
    assert read_manifest(tmp_path / "m.csv").counts() == manifest.counts()


@pytest.mark.parametrize("layout", ["dicom_seg", "seg_nrrd", "pairs", "scans", "list"])
def test_series_of_one_identifier_are_one_patient_in_every_layout(tmp_path, sets, layout):
    root = tmp_path / "export"
    for n, (name, identifier) in enumerate({"series1": "ID-1", "series2": "ID-1", "other": "ID-2"}.items()):
        sets.dicom(root / name, sets.chest(n)[0], patient=identifier)
    volume = read(root / "series1")
    if layout == "dicom_seg":
        (root / "segs").mkdir()
        write_dicom_seg(root / "segs/seg.dcm", sets.mask, volume)
    elif layout == "seg_nrrd":
        _slicer(root / "series2.seg.nrrd", sets, volume, (EMBOLUS,), sets.mask)
    elif layout == "pairs":
        sets.image(root / "series1/mask.nii.gz", sets.mask)
    elif layout == "list":
        (tmp_path / "list.txt").write_text("export/series1\nexport/series2\nexport/other\n")
        root = tmp_path / "list.txt"
    patients = {case.image.name: case.patient for case in _build(root, layout, open_scans=False)}
    assert patients["series1"] == patients["series2"] != patients["other"] == "other"


def test_a_first_file_without_a_header_hides_no_patient(tmp_path, sets):
    root = tmp_path / "set"
    for n, (name, identifier) in enumerate({"a": "ID-1", "b": "ID-1", "c": "ID-2"}.items()):
        sets.dicom(root / name, sets.chest(n)[0], patient=identifier)
    whole = (root / "b/D0001.dcm").read_bytes()
    cuts = [whole[:size] for size in (0, 141, 153, 400)]  # pydicom has an error of its own for each
    for name, content in (("._D0001.dcm", b"\0\5\x16\7" + bytes(200)), *(("D0000.dcm", cut) for cut in cuts)):
        (root / "b" / name).write_bytes(content)
        assert [case.patient for case in _build(root, "scans", open_scans=False)] == ["a", "a", "c"]


def test_lists_that_name_patients_are_believed_and_sites_are_kept_apart(tmp_path, sets):
    for n, (name, identifier) in enumerate({"A/p1": "7", "A/p2": "7", "B/p1": "7", "B/p2": "8"}.items()):
        sets.dicom(tmp_path / name / "ct", sets.chest(n)[0], patient=identifier)
    rows = [("image", "site", "patient"), *((f"{s}/{p}/ct", s, p) for s in "AB" for p in ("p1", "p2"))]
    for columns, patients in ((3, ["p1", "p2", "p1", "p2"]), (2, ["p1", "p1", "p1", "p2"])):
        (tmp_path / "list.csv").write_text("\n".join(",".join(row[:columns]) for row in rows))
        assert [e.patient for e in ADAPTERS["list"].entries(tmp_path / "list.csv")] == patients


def test_one_identifier_in_all_headers_is_a_dummy(tmp_path, sets):
    for n in range(3):
        sets.dicom(tmp_path / "set" / f"p{n}", sets.chest(n)[0], patient="ANON")
    manifest = _build(tmp_path / "set", "scans")
    assert [case.patient for case in manifest] == ["p0", "p1", "p2"]
    assert all("one patient identifier" in case.problems[0] for case in manifest)


def test_an_export_has_an_index_beside_its_patients_and_a_pool_links_to_them(tmp_path, sets):
    """A DICOMDIR carries the mark of DICOM and is no slice; links are followed at the top."""
    export = tmp_path / "export"
    for n, name in enumerate(("one", "two")):
        sets.dicom(export / name, sets.chest(n)[0], patient=name)
    (export / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    assert [case.image.name for case in _build(export, "scans")] == ["one", "two"]
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "link").symlink_to(export / "two", target_is_directory=True)
    assert [case.image.name for case in _build(tmp_path / "pool", "scans")] == ["link"]


def test_a_scan_kept_twice_is_found_whatever_its_format(tmp_path, sets):
    root = tmp_path / "set"
    sets.dicom(root / "a", sets.hu)
    sets.image(root / "b.nii.gz", sets.hu)
    files, folder = _build(root, "scans")
    assert files.fingerprint == folder.fingerprint
    assert [files.role, folder.role] == ["unlabelled", "excluded"]
    assert "a copy of the scan of row 2" in folder.problems


def test_a_copy_shows_that_two_patients_of_a_site_are_one(tmp_path, sets):
    """Else his other scans might be in two splits; another site and empty scans say nothing of it."""
    empty = np.full_like(sets.hu, -1000)
    scans = {"p1/s1": 0, "p1/s2": 1, "p2/copy": 0, "p2/s3": 2, "p3/s1": 3, "p4/s1": None, "p5/s1": None}
    for name, seed in scans.items():
        sets.image(tmp_path / f"{name}.nii.gz", empty if seed is None else sets.chest(seed)[0])
    rows = [f"{name}.nii.gz,{name[:2]},A" for name in scans]
    (tmp_path / "list.csv").write_text("\n".join(["image,patient,site", *rows, "p2/s3.nii.gz,p3,B"]))
    cases = build_manifest(tmp_path / "list.csv", BuildOptions(tmp_path / "masks")).cases
    assert [case.patient for case in cases] == ["p1", "p1", "p1", "p1", "p3", "p4", "p5", "p3"]
    assert [n for n, case in enumerate(cases) if case.role == "excluded"] == [2, 6, 7]
    assert cases[3].problems == ("taken for the patient of row 2, who has a scan in common",)
    assert cases[2].problems == (*cases[3].problems, "a copy of the scan of row 2")
    assert cases[1].problems == cases[4].problems == ()


@pytest.mark.parametrize(
    "text", ["set/a.nii.gz\nset/b.nii.gz\n", "image;patient\nset\\a.nii.gz;7\nset\\b.nii.gz;8\n"]
)
def test_lists_with_and_without_a_header(tmp_path, sets, text):
    for n, name in enumerate("ab"):
        sets.image(tmp_path / f"set/{name}.nii.gz", sets.chest(n)[0])
    (tmp_path / "list.txt").write_text(text)
    manifest = build_manifest(tmp_path / "list.txt", BuildOptions(tmp_path / "masks"))
    assert [case.patient for case in manifest] == (["7", "8"] if "patient" in text else ["a", "b"])
    assert {case.site for case in manifest} == {"list"}


@pytest.mark.parametrize(
    ("images", "patients"),
    [
        ("p1/s1/ct.nii p1/s2/ct.nii p2/s1/ct.nii", "p1 p1 p2"),  # a patient in two splits, if by s1 and s2
        ("p1/ct.nii p2/ct.nii ../gone/x.nii p3/ct.nii", "p1 p2 x p3"),
        ("1.2.826.0/ 1.2.826.1/ 1.2.826.2/", "1.2.826.0 1.2.826.1 1.2.826.2"),
        ("p1/1.2.826.0/ p2/1.2.826.0/ p2.nii", "p1 p2 p2"),
        ("a.nii a.nii b.nii", "a a b"),
    ],
)
def test_lists_without_patients_take_the_name_or_where_the_paths_part(tmp_path, images, patients):
    for name in images.split():
        path = tmp_path / "data" / name
        if "gone" not in name:
            (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if path.parent.is_dir() and not path.is_dir():
            path.touch()
    (tmp_path / "list.csv").write_text("\n".join(["image", *(f"data/{name}" for name in images.split())]))
    entries = ADAPTERS["list"].entries(tmp_path / "list.csv")
    assert [entry.patient for entry in entries] == patients.split()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("text", ["Köln/Ä.nii.gz\r\nKöln/b.nii.gz\r\n", "image\r\nKöln/Ä.nii.gz\r\n"])
def test_lists_keep_their_paths_in_any_encoding(tmp_path, encoding, text):
    (tmp_path / "Köln").mkdir()
    for name in ("Ä.nii.gz", "b.nii.gz"):
        (tmp_path / "Köln" / name).write_bytes(b"scan")
    (tmp_path / "list.txt").write_bytes(text.encode(encoding))
    entries = list(ADAPTERS["list"].entries(tmp_path / "list.txt"))
    assert [e.problem for e in entries] == [""] * len(entries)
    assert entries[0].image == tmp_path / "Köln/Ä.nii.gz"


def test_lists_understand_pe_as_manifests_do_and_short_rows_are_said(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"scan")
    words = ("1", "Yes", "TRUE", "0", "no", "", "maybe")
    rows = ["patient,pe,image", *(f"p{n},{word},a.nii" for n, word in enumerate(words)), "p7,1"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    entries = list(ADAPTERS["list"].entries(tmp_path / "list.csv"))
    assert [entry.pe for entry in entries] == ["yes", "yes", "yes", "no", "no", "", "", "yes"]
    assert entries[6].notes == ("pe 'maybe' is not one of yes, no",)
    assert [entry.problem for entry in entries] == [""] * 7 + ["image is empty"]


def test_a_list_whose_pe_the_mask_contradicts_leaves_the_scan_out(tmp_path, sets):
    rows = ["image,mask,pe"]
    for n, pe in enumerate(("yes", "no", "", "no")):
        marked = n in (1, 2)
        sets.image(tmp_path / f"{n}.nii.gz", sets.chest(n)[0])
        sets.image(tmp_path / f"{n}m.nii.gz", sets.mask * marked)
        rows.append(f"{n}.nii.gz,{n}m.nii.gz,{pe}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    cases = build_manifest(tmp_path / "list.csv", BuildOptions(tmp_path / "masks")).cases
    assert [(case.role, case.pe) for case in cases] == [
        ("excluded", "yes"),
        ("excluded", "no"),
        ("labelled", "yes"),
        ("labelled", "no"),
    ]
    assert cases[0].problems == ("pe is 'yes', but the mask marks nothing",)
    assert cases[1].problems == ("pe is 'no', but the mask marks emboli",)


def test_a_folder_given_as_a_dot_has_its_name(tmp_path, sets, monkeypatch):
    monkeypatch.chdir(sets.dicom(tmp_path / "export", sets.hu))
    (case,) = build_manifest(".", BuildOptions(tmp_path / "masks"))
    assert (case.patient, case.site) == ("export", "export")


def test_folders_that_hold_nothing_and_wrong_names_are_refused(tmp_path):
    with pytest.raises(InputError, match="neither a folder nor a list"):
        adapter_for(tmp_path / "gone")
    with pytest.raises(InputError, match="any layout that is known"):
        adapter_for(tmp_path)
    with pytest.raises(ConfigError, match="no layout 'bids'"):
        adapter_for(tmp_path, "bids")
    for name in ADAPTERS:  # a layout that is named is looked for, and says what it misses
        with pytest.raises(InputError):
            build_manifest(tmp_path, BuildOptions(tmp_path / "masks"), layout=name)
