"""Adapting a model: the base stays as it is, the card names it, unlabelled masks are never opened."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from PESemiSegLib.cohorts.augment import NO_AUGMENTATION
from PESemiSegLib.cohorts.build import with_fingerprints
from PESemiSegLib.cohorts.manifest import Case, Manifest, read_manifest, write_manifest
from PESemiSegLib.cohorts.sampling import SamplingConfig
from PESemiSegLib.errors import Cancelled, ConfigError, InputError, PackageError
from PESemiSegLib.evaluation.before_after import case_lines
from PESemiSegLib.evaluation.verdict import compare
from PESemiSegLib.models.info import PackageInfo
from PESemiSegLib.models.package import ModelPackage, write_package
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.finetune import finetune, settings_for
from PESemiSegLib.training.gather import gather, unlabelled_scans
from PESemiSegLib.training.rehearsal import rehearse
from PESemiSegLib.training.run import RunOptions, prepare
from PESemiSegLib.training.settings import AdversarialConfig, SemiConfig
from PESemiSegLib.training.start import fresh_networks, starting_networks
from PESemiSegLib.volumes.grid import Grid
from PESemiSegLib.volumes.reader import read
from PESemiSegLib.volumes.write import write_nifti, write_nrrd

NETWORK = NetworkConfig(width=4, upsample="bilinear")
CONFIG = TrainConfig(
    strategy="adversarial_feature",
    network=NETWORK,
    discriminator=DiscriminatorConfig(channels=(8, 4)),
    sampling=SamplingConfig(batch=2, crop=32, augment=NO_AUGMENTATION),
    semi=SemiConfig(batch=1, adversarial=AdversarialConfig(adversarial_start=0.0, semi_start=0.0)),
    spacing_mm=3.0,
    iterations=2,
    validate_every=2,
    validation_batches=1,
    checkpoint_every=2,
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _scan(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Two lungs with a vessel each, and a clot in one of them."""
    zz, yy, xx = np.mgrid[:8, :48, :48]
    hu = np.full(zz.shape, 40.0)
    for x0 in (14, 34):
        hu[((yy - 24) / 16) ** 2 + ((xx - x0) / 8) ** 2 < 1] = -850
        hu[np.hypot(yy - 24, xx - x0) < 4] = 320
    mask = ((np.hypot(yy - 24, xx - 14) < 3) & (abs(zz - 4) < 2)).astype(np.uint8)
    hu[mask > 0] = 40
    return (hu + np.random.default_rng(number).normal(0, 10, hu.shape)).astype(np.int16), mask


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`m.csv`: labelled patients in three splits; `new/`: scans of another hospital."""
    folder = tmp_path_factory.mktemp("cohort")
    (folder / "new").mkdir()
    affine, cases = np.diag([3.0, 3.0, 5.0, 1.0]), []
    for number, split in enumerate(["train", "train", "val", "test"]):
        hu, mask = _scan(number)
        image, label = folder / f"ct{number}.nii.gz", folder / f"mask{number}.nii.gz"
        write_nifti(image, hu, Grid(hu.shape, affine))
        write_nifti(label, mask, Grid(hu.shape, affine))
        cases.append(Case(f"SECRET-{number}", "A", image, label, "labelled", split, "strict"))
    write_manifest(Manifest(tuple(cases)), folder / "m.csv")
    for number in (10, 11):
        hu, _ = _scan(number)
        write_nifti(folder / "new" / f"scan{number}.nii.gz", hu, Grid(hu.shape, affine))
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    info = PackageInfo(
        name="base",
        network=NETWORK.to_dict(),
        discriminator=CONFIG.discriminator.to_dict(),
        spacing_mm=3.0,
        data_origin="phantom",
        threshold=0.4,
        core_threshold=0.6,
        min_lesion_mm3=30.0,
        training={"preset": "modern"},
    )
    segmenter, discriminator = fresh_networks(replace(CONFIG, seed=77))
    return write_package(tmp_path_factory.mktemp("base") / "m", info, segmenter.eval(), discriminator.eval())


def _options(cohort: Path, base: ModelPackage, folder: Path, **changes: Any) -> RunOptions:
    manifest = gather([cohort / "m.csv"], [cohort / "new"], folder, site="B")
    return RunOptions(manifest=manifest, folder=folder, name="adapted", base=base.path, **changes)


def _digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_a_model_is_adapted_judged_and_its_base_is_left_alone(
    cohort: Path, base: ModelPackage, tmp_path: Path
) -> None:
    before, run = _digests(base.folder), tmp_path / "run"
    options = _options(cohort, base, run)
    trained = run / "model" / "model.json"
    with pytest.raises(Cancelled):  # once the model is there, while it is compared with its base
        finetune(CONFIG, options, cancelled=trained.exists, segmenting={"threads": 1})
    assert "has not" in json.loads(trained.read_text())["metrics"]["note"]
    again = replace(options, resume=True)
    judged: list[tuple[int, int]] = []
    adapted = finetune(CONFIG, again, judging=lambda *step: judged.append(step), segmenting={"threads": 1})
    package = adapted.package
    assert judged == [(1, 1)]
    assert adapted.page == run / "evaluation" / "evaluation.html"
    page = adapted.page.read_text(encoding="utf-8")
    assert package.sha256 in page
    assert base.sha256 in page
    assert json.loads((run / "evaluation" / "verdict.json").read_text())["verdict"] == "no difference shown"
    assert case_lines(adapted.verdict)[0].startswith("P01, site A: Dice ")
    assert (package.info.threshold, package.info.core_threshold) == (0.4, 0.6)
    assert package.info.min_lesion_mm3 == 30.0
    assert _digests(base.folder) == before
    card = package.info.training
    assert card["parent"] == {"name": "base", "sha256": base.sha256}
    assert card["patients"] == {
        "A/test/labelled": 1,
        "A/train/labelled": 2,
        "A/val/labelled": 1,
        "B/train/unlabelled": 2,
    }
    assert card["data_fingerprint"] == read_manifest(options.manifest).fingerprint
    assert card["settings"]["semi"]["adversarial"]["trust"] == 0.2
    assert package.info.data_origin == "mixed"  # made-up patients before, these now
    assert package.info.metrics["held_out"]["sentences"] == list(adapted.verdict.sentences)
    assert "note" not in package.info.metrics
    assert "trusted_share" in package.info.metrics["health"]  # although this start only compared
    for name in ("segmenter.safetensors", "discriminator.safetensors"):
        old, new = (load_file(each.folder / name) for each in (base, package))
        assert any(not torch.equal(value, new[key]) for key, value in old.items()), name
    kinds = (".json", ".jsonl", ".md", ".yaml")
    texts = [path.read_text(errors="ignore") for path in run.rglob("*") if path.suffix in kinds]
    assert texts
    assert "SECRET" not in "".join(texts)


def test_without_held_out_labels_agreement_is_told_as_such(
    cohort: Path, base: ModelPackage, tmp_path: Path
) -> None:
    options = _options(cohort, base, tmp_path / "run")
    kept = [case for case in read_manifest(options.manifest) if case.split != "test"]
    write_manifest(kept, options.manifest)
    about_emboli = replace(CONFIG.sampling, emboli=1.0, vessels=0.0, lookalikes=0.0)
    settings = replace(CONFIG, iterations=1, sampling=about_emboli)
    adapted = finetune(settings, options, segmenting={"threads": 1})
    metrics = adapted.package.info.metrics
    assert adapted.verdict.word == "no labels"
    assert adapted.page is None
    assert "no verdict" in str(adapted.verdict)
    assert "L_D near marks is" in str(adapted.verdict)
    assert "No labelled patients were held out" in metrics["note"]
    assert metrics["agreement"]["scans"] == 2
    assert not case_lines(adapted.verdict)


def test_a_run_starts_from_the_weights_of_its_base(base: ModelPackage) -> None:
    segmenter, discriminator = starting_networks(CONFIG, base.path)
    for name, network in (("segmenter", segmenter), ("discriminator", discriminator)):
        stored = load_file(base.folder / f"{name}.safetensors")
        for key, value in network.state_dict().items():
            assert torch.equal(value, stored[key]), key
    assert segmenter.training
    other = replace(CONFIG, strategy="adversarial_mask", discriminator=DiscriminatorConfig("mask_only"))
    assert starting_networks(other, base.path)[1].config.kind == "mask_only"
    with pytest.raises(PackageError, match="not there"):
        starting_networks(CONFIG, base.path / "nowhere")


@pytest.mark.parametrize("resolution", ["branch", "input"])
def test_a_discriminator_that_weighs_its_inputs_otherwise_says_the_same_at_first(
    base: ModelPackage, resolution: Literal["branch", "input"]
) -> None:
    had = replace(CONFIG.discriminator, feature_resolution=resolution)
    loud = replace(had, mask_weight=4 * had.mask_weight, feature_weight=0.1 * had.feature_weight)
    draw = torch.Generator().manual_seed(0)
    image, mask = torch.randn(2, CONFIG.network.context, 32, 32, generator=draw), torch.zeros(2, 1, 32, 32)
    mask[:, :, 8:20, 8:20] = 1.0
    segmenter, before = starting_networks(replace(CONFIG, discriminator=had), base.path)
    _, after = starting_networks(replace(CONFIG, discriminator=loud), base.path)
    assert before is not None
    assert after is not None
    with torch.no_grad():
        _, features = segmenter.eval().forward_features(image)
        assert after.config == loud
        torch.testing.assert_close(after(mask, features), before(mask, features), atol=1e-5, rtol=1e-5)


def test_the_settings_are_the_bases_own(base: ModelPackage) -> None:
    config = settings_for(base.path, iterations=7, trust="q0.3")
    assert (config.name, config.network, config.spacing_mm) == ("modern", NETWORK, 3.0)
    assert (config.sampling.context, config.iterations, config.semi.adversarial.trust) == (1, 7, "q0.3")
    loud = {"mask_weight": 20.0, "feature_weight": 0.1}  # the preset's: at the base's D would be blind
    assert config.discriminator == replace(CONFIG.discriminator, **loud)
    assert config.needs_unlabelled
    peer = settings_for(base.path, "cpu_demo", "cps")
    assert (peer.semi.cps.second, peer.discriminator) == ("copy", CONFIG.discriminator)


def test_a_dry_run_says_what_it_would_take_and_leaves_nothing(
    cohort: Path, base: ModelPackage, tmp_path: Path
) -> None:
    options = replace(_options(cohort, base, tmp_path / "gathered"), folder=tmp_path / "run")
    found = rehearse(replace(CONFIG, iterations=3600), options)
    assert found.seconds_per_iteration > 0
    assert found.hours == pytest.approx(found.seconds_per_iteration)
    assert found.patients["B/train/unlabelled"] == 2
    assert any("L_semi" in sentence for sentence in found.timeline)
    assert not (tmp_path / "run").exists()


def test_masks_of_unlabelled_rows_are_dropped_and_never_opened(
    cohort: Path, base: ModelPackage, tmp_path: Path
) -> None:
    broken = tmp_path / "mask.nii.gz"
    broken.write_bytes(b"not an image")
    image = cohort / "new" / "scan10.nii.gz"
    rows = (
        Case("U1", "B", image, broken, "labelled"),
        Case("U2", "B", cohort / "ct3.nii.gz", role="excluded", split="test"),
    )
    write_manifest(Manifest(rows), tmp_path / "u.csv")
    found = [(case.role, case.mask) for case in unlabelled_scans(tmp_path / "u.csv")]
    assert found == [("unlabelled", None), ("excluded", None)]
    known = list(read_manifest(cohort / "m.csv"))
    direct = Manifest((*known, Case("U1", "B", image, broken, "unlabelled")))
    write_manifest(direct, tmp_path / "all.csv")  # even where a run's own manifest names one
    options = RunOptions(manifest=tmp_path / "all.csv", folder=tmp_path / "run", base=base.path)
    prepare(CONFIG, options)
    assert rehearse(CONFIG, options).seconds_per_iteration > 0


def test_a_scan_in_both_cohorts_is_a_leak(cohort: Path, tmp_path: Path) -> None:
    """In another format too."""
    (tmp_path / "new").mkdir()
    volume = read(cohort / "ct3.nii.gz")
    write_nrrd(tmp_path / "new" / "again.nrrd", volume.hu, volume.grid)
    with pytest.raises(InputError, match="copies of the same scan"):
        gather([cohort / "m.csv"], [tmp_path / "new"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_labelled_patient_is_known_again_among_unlabelled_folders(cohort: Path, tmp_path: Path) -> None:
    """With another scan, of which no voxel is the same; and patients of two folders are not taken for one."""
    known = next(case for case in read_manifest(cohort / "m.csv") if case.split == "test")
    for source, patient in (("one", known.patient), ("two", "P9")):
        (tmp_path / source / patient).mkdir(parents=True)
        shutil.copy(cohort / "new" / "scan10.nii.gz", tmp_path / source / patient)
    folders = [tmp_path / "one", tmp_path / "two"]
    with pytest.raises(InputError, match="one patient is in the splits test, train"):
        gather([cohort / "m.csv"], folders, tmp_path / "run", site=known.site, fingerprints=False)
    path = gather([cohort / "m.csv"], folders, tmp_path / "run", site="B", fingerprints=False)
    assert read_manifest(path).counts()["B/train/unlabelled"] == 2


def test_a_folder_of_scans_is_read_as_cohort_make_reads_it(cohort: Path, tmp_path: Path) -> None:
    """Patients by a hash, masks left out, and what cannot be read told rather than trained on."""
    for number, name in enumerate(("SECRET/1.nii.gz", "SECRET/2.nii.gz", "other.nii.gz")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((cohort / f"ct{number}.nii.gz").read_bytes())
    (tmp_path / "other_mask.nii.gz").write_bytes((cohort / "ct1.nii.gz").read_bytes())
    (tmp_path / "broken.nrrd").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    found = with_fingerprints(unlabelled_scans(tmp_path, "B"))
    assert [(c.image.name, c.role) for c in found] == [
        ("broken.nrrd", "excluded"),
        ("other.nii.gz", "unlabelled"),
        ("1.nii.gz", "unlabelled"),
        ("2.nii.gz", "unlabelled"),
    ]
    broken, other, one, two = (case.patient for case in found)
    assert one == two
    assert len({broken, other, one}) == 3
    assert not any(name in case.patient for case in found for name in ("SECRET", "broken", "other"))
    assert {(case.site, case.split, case.mask) for case in found} == {("B", "train", None)}
    for wrong in ("empty", "nowhere"):
        with pytest.raises(InputError, match=wrong):
            unlabelled_scans(tmp_path / wrong)


def test_what_cannot_be_adapted_is_refused(cohort: Path, base: ModelPackage, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="learns from unlabelled scans"):
        prepare(CONFIG, RunOptions(manifest=cohort / "m.csv", folder=tmp_path / "run"))
    options = _options(cohort, base, tmp_path / "gathered")
    for changes, what in (
        ({"spacing_mm": 2.0}, "spacing"),
        ({"network": replace(NETWORK, width=8)}, "network"),
        ({"sampling": replace(CONFIG.sampling, hu_window=(-100.0, 300.0))}, "window"),
    ):
        with pytest.raises(ConfigError, match=what):
            prepare(replace(CONFIG, **changes), replace(options, folder=tmp_path / "run"))
    with pytest.raises(ConfigError, match="starts from a model"):
        finetune(CONFIG, replace(options, base=None))
    assert not (tmp_path / "run").exists()
    assert json.loads((base.folder / "model.json").read_text())["name"] == "base"


def test_a_model_of_arteries_is_adapted_and_judged_by_its_classes(cohort: Path, tmp_path: Path) -> None:
    """The labelled scans with vessels as label 1 and 2, beside unlabelled ones of another hospital."""
    manifest = read_manifest(cohort / "m.csv")
    vessels = []
    for case in manifest:
        volume = read(case.image)
        mask = tmp_path / f"vessels-{case.image.name}"
        labels = np.where(volume.hu > 200, 2 - (np.arange(volume.shape[2]) > 24), 0).astype(np.uint8)
        write_nifti(mask, labels, volume.grid)
        vessels.append(replace(case, mask=mask, marks="arteries"))
    write_manifest(Manifest(tuple(vessels)), tmp_path / "a.csv")
    config = replace(
        CONFIG,
        kind="arteries",
        strategy="adversarial_mask",
        network=NetworkConfig(architecture="unet2d", width=2, classes=3),
        discriminator=DiscriminatorConfig(kind="mask_only", channels=(4, 4)),
        sampling=replace(CONFIG.sampling, classes=3),
    )
    info = PackageInfo(
        name="base",
        kind="artery-segmenter",
        network=config.network.to_dict(),
        discriminator=config.discriminator.to_dict(),
        spacing_mm=3.0,
        data_origin="phantom",
    )
    segmenter, discriminator = fresh_networks(config)
    base = write_package(tmp_path / "base", info, segmenter.eval(), discriminator.eval())
    assert settings_for(base.path, "tan2022_small").kind == "arteries"
    run = tmp_path / "run"
    manifest_path = gather([tmp_path / "a.csv"], [cohort / "new"], run, site="B")
    options = RunOptions(manifest=manifest_path, folder=run, name="adapted", base=base.path)
    adapted = finetune(config, options, segmenting={"threads": 1})
    assert list(adapted.verdict.tests) == ["Aorta", "Pulmonary artery", "mean"]
    assert case_lines(adapted.verdict)[0].startswith("P01, site A: mean Dice ")
    assert adapted.page is not None
    page = adapted.page.read_text(encoding="utf-8")
    assert "adapted against base" in page
    assert "SECRET" not in page
    assert adapted.package.info.what.name == "arteries"
    unlabelled = read_manifest(manifest_path).select("train", "unlabelled")
    assert len(unlabelled)
    without = compare(base, adapted.package, unlabelled, threads=1)
    assert without.word == "no labels"
    assert without.agreement["scans"] == len(unlabelled)
