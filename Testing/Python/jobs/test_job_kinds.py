"""What the kinds of jobs do: the same as the functions below them, on the right voxels, without names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from PESemiSegLib.jobs import runner
from PESemiSegLib.jobs.folder import Job
from PESemiSegLib.jobs.redact import RedactedStream, Redactor
from PESemiSegLib.jobs.watch import Snapshot
from PESemiSegLib.jobs.work import probe
from PESemiSegLib.jobs.work.probe import unsupported

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
FAST = {"precision": "fp32", "threads": 1, "threshold": 0.5, "min_lesion_mm3": 0.0}


@pytest.fixture(scope="module")
def model(make_tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of two tiny, untrained networks."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny", spacing_mm=3.0, min_lesion_mm3=0.0)


def chest(seed: int = 0) -> np.ndarray:
    """(k, j, i) HU: a body, two unlike lungs and a vessel, different along every axis."""
    zz, yy, xx = np.mgrid[:12, :64, :80]
    hu = np.full(zz.shape, -1000.0)
    hu[((yy - 32) / 28) ** 2 + ((xx - 40) / 38) ** 2 < 1] = 40
    for x0, width in ((22, 10), (58, 14)):
        hu[((yy - 30) / 18) ** 2 + ((xx - x0) / width) ** 2 < 1] = -850
    hu[np.hypot(yy - 26, xx - 40) < 4 + zz / 6] = 350
    return (hu + np.random.default_rng(seed).normal(0, 12, hu.shape)).astype(np.int16)


def done(seen: Snapshot) -> Snapshot:
    assert seen.state == "done", (seen.message, seen.log_tail)
    return seen


def turned(flip: tuple[int, ...], axes: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The chest with other array axes and directions, and the IJKToRAS that keeps each voxel in its place."""
    hu = chest()
    index_to_lps = np.diag([3.0, 3.0, 5.0, 1.0])
    index_to_lps[:3, 3] = (-120, -96, 30)
    array = np.flip(hu, flip).transpose(axes)
    old_from_new = np.zeros((4, 4))
    old_from_new[3, 3] = 1
    for new, old in enumerate(axes):  # array axes (k, j, i) = 0, 1, 2; matrix columns (i, j, k)
        back = -1 if old in flip else 1
        old_from_new[2 - old, 2 - new] = back
        old_from_new[2 - old, 3] = hu.shape[old] - 1 if old in flip else 0
    return np.ascontiguousarray(array), RAS_FROM_LPS @ index_to_lps @ old_from_new


def segmented(home: Path, model: Path, array: np.ndarray, ijk_to_ras: np.ndarray) -> tuple[Job, Snapshot]:
    """As the panel does it: describe the job, put the array into its folder, start."""
    settings = FAST | {"lung_filter": "none", "whole": True}
    job = Job.create(
        "segment", {"ijk_to_ras": ijk_to_ras, "model": model, "files": False, "settings": settings}
    )
    np.save(job.path("input.npy"), array)
    return job, done(runner.start(job).wait(200))


def test_an_array_comes_back_on_its_own_voxels(home: Path, model: Path) -> None:
    """Flipped and turned volumes give the same marks at the same places in the patient."""
    reference = None
    for flip, axes in (((), (0, 1, 2)), ((0, 2), (0, 1, 2)), ((1,), (1, 2, 0))):
        array, ijk_to_ras = turned(flip, axes)
        job, seen = segmented(home, model, array, ijk_to_ras)
        mask, confidence = np.load(job.path("mask.npy")), np.load(job.path("confidence.npy"))
        assert (mask.dtype, confidence.dtype) == (np.uint8, np.float32)
        assert mask.shape == confidence.shape == array.shape
        (grid,) = [event for event in seen.events if event["kind"] == "grid"]
        assert np.allclose(grid["ijk_to_ras"], ijk_to_ras)
        back = np.flip(mask.transpose(np.argsort(axes)), flip)
        level = np.flip(confidence.transpose(np.argsort(axes)), flip)
        if reference is None:
            reference = back, level
            assert 0 < back.sum() < back.size
        assert np.array_equal(back, reference[0])
        assert np.allclose(level, reference[1])


def test_a_file_gives_what_the_function_gives_and_no_name_gets_out(
    home: Path, tmp_path: Path, model: Path
) -> None:
    from PESemiSegLib.inference.segment import segment
    from PESemiSegLib.models.package import read_package
    from PESemiSegLib.volumes.grid import Grid, make_affine
    from PESemiSegLib.volumes.reader import read
    from PESemiSegLib.volumes.write import write_nifti

    path = tmp_path / "DOE^JANE 19570301" / "Doe_Jane.nii.gz"
    path.parent.mkdir()
    hu = chest()
    write_nifti(path, hu, Grid(hu.shape, make_affine((3, 3, 5), (-120, -96, 30))))
    params = {"input": path, "model": model, "settings": FAST, "report": False}
    watch = runner.submit("segment", params)
    seen = done(watch.wait(200))
    expected = segment(read(path), read_package(model), **FAST)  # type: ignore[arg-type]
    assert np.array_equal(np.load(watch.job.path("mask.npy")), expected.output_mask())
    assert np.allclose(np.load(watch.job.path("confidence.npy")), expected.output_confidence())
    listed = {result.name for result in seen.status.results}
    assert {"mask.npy", "confidence.npy", "result/segmentation.seg.nrrd", "result/result.json"} <= listed
    broken = tmp_path / "DOE^JANE 19570301" / "Doe_Jane_2.nii.gz"
    broken.write_bytes(b"nothing")
    refused = runner.submit("segment", params | {"input": broken})
    seen = refused.wait(200)
    assert (seen.state, seen.status.exit_code) == ("failed", 2)
    assert seen.message.startswith("<input>: ")
    for job in (watch.job, refused.job):
        for file in (path for path in job.folder.rglob("*") if path.is_file() and path.name != "job.json"):
            assert b"Jane" not in file.read_bytes(), file.name
            assert b"JANE" not in file.read_bytes(), file.name


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "needs `input`"),
        ({"inptu": "x"}, "no parameter inptu"),
        ({"settings": {"progress": 1}}, "no parameter progress"),
        ({"ijk_to_ras": [[1]]}, "cannot be read"),
        ({"model": "no-such-model"}, "no model 'no-such-model'"),
    ],
)
def test_a_bad_description_is_one_line(
    home: Path, model: Path, params: dict[str, object], words: str
) -> None:
    """Called directly, without a process: the worker turns these into the status."""
    from PESemiSegLib.errors import PESemiSegError
    from PESemiSegLib.jobs.context import Context
    from PESemiSegLib.jobs.work.segment import work

    with pytest.raises(PESemiSegError, match=words):
        work(Context(Job.create("segment", {"model": model} | params)))


def test_a_cohort_job_takes_no_folders_name_for_a_site(home: Path, tmp_path: Path) -> None:
    """A folder of one patient is called as the patient is, and sites are named in models and reports."""
    from PESemiSegLib.cohorts.manifest import read_manifest
    from PESemiSegLib.jobs.context import Context
    from PESemiSegLib.jobs.work.cohort import work
    from PESemiSegLib.volumes.grid import Grid
    from PESemiSegLib.volumes.write import write_nifti

    def sites(folder: str, **source: str) -> set[str]:
        source["path"] = str(tmp_path / folder / "MILLER_Anna")
        (table,) = work(Context(Job.create("cohort", {"sources": [source], "open_scans": False})))
        return {case.site for case in read_manifest(table)}

    grid = Grid(chest().shape, np.diag([3.0, 3.0, 5.0, 1.0]))
    for name in ("scans/MILLER_Anna/p1", "named/MILLER_Anna/images/001", "named/MILLER_Anna/rs/9RefStd"):
        path = tmp_path / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_nifti(path, chest(), grid)
    assert sites("scans") == {"ours"}
    assert sites("scans", fallback_site="B") == {"B"}
    assert sites("named", fallback_site="B") == {"CAD-PE"}
    assert sites("named", site="C") == {"C"}


def test_a_cohort_job_takes_what_two_sources_share_once(home: Path, tmp_path: Path) -> None:
    from PESemiSegLib.cohorts.manifest import read_manifest
    from PESemiSegLib.errors import InputError
    from PESemiSegLib.jobs.context import Context
    from PESemiSegLib.jobs.work.cohort import work
    from PESemiSegLib.volumes.grid import Grid
    from PESemiSegLib.volumes.write import write_nifti

    grid = Grid(chest().shape, np.diag([3.0, 3.0, 5.0, 1.0]))
    for name, seed in {"one/p1": 0, "two/q1": 0, "two/q2": 1, "two/r/copy": 1}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_nifti(tmp_path / f"{name}.nii.gz", chest(seed), grid)

    def made(*sites: str) -> list[tuple[str, ...]]:
        found = [
            {"path": str(tmp_path / name), "site": site}
            for name, site in zip(("one", "two"), sites, strict=True)
        ]
        (table,) = work(Context(Job.create("cohort", {"sources": found})))
        return [(case.patient, case.role, *case.problems) for case in read_manifest(table)]

    taken = "taken for the patient of row {n}, who has a scan in common"
    assert made("A", "A") == [
        ("p1", "unlabelled"),
        ("p1", "excluded", taken.format(n=2), "a copy of the scan of row 2"),
        ("q2", "unlabelled"),
        ("q2", "excluded", taken.format(n=4), "a copy of the scan of row 4"),
    ]
    with pytest.raises(InputError, match="two has a scan of another site here; leave it out"):
        made("A", "B")


def test_the_probe_tells_what_runs_here(home: Path) -> None:
    watch = runner.submit("probe", {})
    seen = done(watch.wait(200))
    facts = json.loads(watch.job.path("probe.json").read_text())
    assert [event["stage"] for event in seen.events if event["kind"] == "probe"] == list(facts)[:5]
    assert facts["packages"]["numpy"] == np.__version__
    cpu = facts["devices"][-1]
    assert cpu["device"] == "cpu"
    assert cpu["usable"] is True
    assert 0.1 < cpu["memory_free_gib"] <= cpu["memory_gib"]
    for device in facts["devices"]:
        assert device["usable"] or device["why"]


@pytest.mark.parametrize(
    ("capability", "architectures", "words"),
    [
        ((9, 0), ["sm_80", "sm_90"], None),
        ((8, 6), ["sm_80", "sm_90"], None),  # machine code runs on later minors of its major
        ((8, 0), ["sm_86"], "older"),
        (
            (12, 0),
            ["sm_80", "sm_90"],
            "newer than what torch 2.9 was built for (8.0 to 9.0); install a newer",
        ),
        ((12, 0), ["sm_90", "compute_90"], None),  # intermediate code runs on everything later
        ((6, 1), ["sm_70", "compute_90"], "older"),
        ((10, 0), ["sm_90a", "sm_100a"], None),
        ((9, 0), [], None),  # nothing is known: the test computation decides
    ],
)
def test_why_a_gpu_cannot_be_used(
    capability: tuple[int, int], architectures: list[str], words: str | None
) -> None:
    why = unsupported(*capability, architectures, "2.9")
    assert (why is None) if words is None else (why is not None and words in why)


def test_a_gpu_is_of_no_use_without_the_reader_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    about = SimpleNamespace(name="H200", total_memory=2**37, major=9, minor=0)
    monkeypatch.setattr(probe, "_version", lambda name: None)
    facts = probe._gpu(SimpleNamespace(cuda=SimpleNamespace(get_device_properties=lambda index: about)), 0)
    assert (facts["name"], facts["usable"]) == ("H200", False)
    assert "safetensors is not installed" in facts["why"]


def test_redaction_of_manifests_folders_and_lists(tmp_path: Path) -> None:
    scans = tmp_path / "klinik" / "Meier_Hans"
    scans.mkdir(parents=True)
    (scans / "MEIER0001.dcm").touch()
    manifest = tmp_path / "cohort.csv"
    manifest.write_text(
        "patient,image,mask\nMueller 77,Mueller_ct.nii.gz,\nY,/x/Yildiz (2).nrrd,m_Yildiz.nrrd\n"
    )
    redact = Redactor({"manifest": str(manifest), "inputs": [str(scans)], "model": "demo"})
    assert redact("MEIER0001.dcm: cut short") == "<a file of the input>: cut short"
    assert redact(f"no such file {scans}/lost") == "no such file <inputs>/lost"
    assert redact("Mueller 77 and Mueller_ct.nii.gz differ") == "<row 2> and <row 2> differ"
    assert redact("m_Yildiz.nrrd, 'Yildiz (2).nrrd'") == "<row 3>, '<row 3>'"
    assert redact("the demo model reads slices") == "the demo model reads slices"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_redaction_reads_the_tables_that_the_cohorts_read(
    tmp_path: Path, encoding: str, separator: str
) -> None:
    """As spreadsheets save them, with a case folder whose files only a reader's error names."""
    (tmp_path / "Özil" / "SE1").mkdir(parents=True)
    (tmp_path / "Özil" / "SE1" / "OEZIL_0001").touch()
    table = tmp_path / "liste.csv"
    rows = (" Patient", "Image", "Mask", "Lesions"), ("Jane Roe", "Özil\\SE1", "", "Kaya_l.nrrd")
    table.write_bytes("\r\n".join(separator.join(row) for row in rows).encode(encoding))
    redact = Redactor({"manifest": str(table)})
    for name in ("Jane Roe", "Özil", "SE1", "OEZIL_0001", "Kaya_l.nrrd", "Kaya_l", "Özil\\SE1"):
        assert redact(f"{name}: cut short") == "<row 2>: cut short", name
    assert "Özil" not in redact(f"no {tmp_path}/Özil/SE1/OEZIL_0002.dcm")


@pytest.mark.parametrize("ending", ["txt", "tsv", "csv"])
def test_redaction_of_a_list_of_paths(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"scans.{ending}").write_text(
        "/mnt/a/Meier.Hans.nii.gz\n\nKaya, Ayse.mha\n", encoding="utf-8"
    )
    redact = Redactor({"sources": [{"path": str(tmp_path / f"scans.{ending}")}]})
    for line, name in ((1, "Meier.Hans.nii.gz"), (1, "Meier.Hans"), (3, "Kaya, Ayse.mha"), (3, "Kaya, Ayse")):
        assert redact(f"{name} is not there") == f"<row {line}> is not there"


def test_redaction_knows_every_folder_and_what_looks_like_a_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of slices hide no folder's name, and files that came later are not named either."""
    from PESemiSegLib.jobs import redact as module

    monkeypatch.setattr(module, "_MAX_FILES", 10)
    for number in range(30):
        (tmp_path / "in" / "AB" / "MEI").mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / "AB" / "MEI" / f"a_long_name_of_a_slice_{number}").touch()
    redact = Redactor({"input": str(tmp_path / "in")})
    assert redact("the folder MEI is empty") == "the folder <a file of the input> is empty"
    assert redact("a/AB/x, 'AB', AB of it") == "a/<a file of the input>/x, '<a file of the input>', AB of it"
    assert redact("Roe_Jane.dcm, x/Roe.NII.GZ!") == "<a file of the input>, x/<a file of the input>!"
    own = "cannot write segmentation.seg.nrrd; the mask of scan 3 is empty; the data of image.nii.gz"
    assert redact(own) == own


def test_redaction_leaves_the_words_of_a_model_alone(tmp_path: Path, model: Path) -> None:
    redact = Redactor({"base": str(model), "input": str(tmp_path / "Meier_Hans")})
    sentence = "No difference was shown between the model before and the model after"
    assert redact(f"{sentence}, Meier_Hans.") == f"{sentence}, <input>."


@pytest.mark.parametrize(
    "said",
    [
        "L_seg on labelled crops, L_semi on unlabelled crops: 0.01 of the model before, val and test",
        "Dice: 0.22 before, 0.31 after; permutation p = 0.031, Wilcoxon p = 0.001, 1.25 false marks",
        "iteration 100: checkpoint of the run; 31 patients, 12345 slices",
    ],
)
def test_redaction_leaves_sentences_and_figures_alone(tmp_path: Path, said: str) -> None:
    """Of a fine-tuning as the panel starts it, on patients that are numbers, as those of CAD-PE are."""
    lists = {name: tmp_path / "run" / "val" / f"{name}.csv" for name in ("labelled", "unlabelled")}
    lists["labelled"].parent.mkdir(parents=True)
    for path in lists.values():
        path.write_text("patient,image\n001,a/001.nrrd\n031,1.25/031\n100,12345/100\n0047111,Val/VAL.nrrd\n")
    params = {**lists, "base": tmp_path / "run" / "model"}
    redact = Redactor({name: str(path) for name, path in params.items()})
    assert redact(said) == said
    real = "CAD-PE/031 and a/001.nrrd, '100', 0047111, Val"
    assert redact(real) == "CAD-PE/<row 3> and <row 2>, '<row 4>', <row 5>, <row 5>"


def test_redaction_of_what_is_written_in_pieces(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        stream = RedactedStream(log, Redactor({"input": "/data/Meier_Hans"}))
        for piece in ("cannot open Mei", "er_Hans", "\nnext", "\n", "Meier_Hans"):
            stream.write(piece)
        stream.flush()
    assert (tmp_path / "log").read_text() == "cannot open <input>\nnext\n<input>"
