"""One made-up patient: from the recipe to the scan, its exact masks and what the annotator drew."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from PESemiSegLib.phantom.anatomy import build_anatomy, with_opacities
from PESemiSegLib.phantom.breathing import Breath
from PESemiSegLib.phantom.imaging import image_scene
from PESemiSegLib.phantom.labels import annotate
from PESemiSegLib.phantom.landmarks import landmarks
from PESemiSegLib.phantom.parameters import PatientParameters, draw_parameters
from PESemiSegLib.phantom.recipe import Recipe
from PESemiSegLib.phantom.scanner import PRESETS, Acquisition, Preset
from PESemiSegLib.phantom.scene import Scene, render
from PESemiSegLib.phantom.sites import site
from PESemiSegLib.volumes.grid import Grid, make_affine


@dataclass
class PhantomCase:
    """A scan and its truth, all (z, y, x) on the axial LPS grid of ``affine`` (4x4, (i, j, k) -> mm).

    hu int16; clot uint8 as the annotator of the site drew it; clot_exact uint8; artery uint8, lumen with
    clots; lesions int16, instance ids of the exact clots; aorta uint8, lumen without its branches; facts: per
    lesion kind, level, volume_mm3 and so on, bolus and scanner. For the non-contrast twin the masks are those
    of the contrast scan. opacities uint8, ground glass 1, consolidation 2, healthy lung 3, as they lie in
    this scan, twin or not; None for a recipe without any.
    """

    hu: np.ndarray
    affine: np.ndarray
    clot: np.ndarray
    clot_exact: np.ndarray
    artery: np.ndarray
    lesions: np.ndarray
    recipe: Recipe
    facts: dict[str, Any] = field(default_factory=dict)
    aorta: np.ndarray | None = None
    opacities: np.ndarray | None = None

    @property
    def arteries(self) -> np.ndarray:
        """Aorta 1, pulmonary artery 2, uint8: the labels of Tan et al."""
        labels = 2 * (self.artery > 0).astype(np.uint8)
        return labels if self.aorta is None else np.maximum(labels, self.aorta)

    @property
    def grid(self) -> Grid:
        return Grid(self.hu.shape, self.affine)


def make_case(recipe: Recipe) -> PhantomCase:
    """Build the patient of a recipe; the same recipe gives the same bits."""
    parameters, acquisition, grid = plan(recipe)
    anatomy = build_anatomy(parameters)
    if recipe.opacities is not None:
        anatomy = with_opacities(anatomy, recipe.opacities, recipe.rng("opacities"))
    scene = render(anatomy, grid, recipe.rng("scene"))
    clot, missed = _annotated(recipe, scene, grid)
    breath = None
    hu, facts, opacities = scene.hu, scene.facts, scene.opacities
    if not recipe.contrast:
        before = replace(anatomy, patient=parameters.without_contrast())
        plain = render(before, grid, recipe.rng("scene"))
        breath = Breath.draw(recipe.rng("breathing"))
        hu, facts = _after(breath, plain.hu, grid, parameters), plain.facts
        opacities = None if opacities is None else _map_after(breath, opacities, grid, parameters)
    image = image_scene(hu, acquisition, recipe.rng("image"), landmarks(parameters, grid))
    return PhantomCase(
        hu=image,
        affine=np.array(grid.affine),
        clot=clot,
        clot_exact=scene.clot,
        artery=scene.artery,
        lesions=scene.lesions,
        recipe=recipe,
        facts={
            **facts,
            "scanner": asdict(acquisition),
            "label_style": site(recipe.label_site or recipe.site).labels.name,
            "missed_lesions": missed,
            "breath": asdict(breath) if breath else None,
        },
        aorta=scene.aorta,
        opacities=opacities,
    )


def make_noncontrast_twin(recipe: Recipe) -> PhantomCase:
    """The same patient before the injection, in another breath; labels are those of the contrast scan."""
    return make_case(replace(recipe, contrast=False))


def plan(recipe: Recipe) -> tuple[PatientParameters, Acquisition, Grid]:
    """Who lies on the table, with which settings the scanner runs, and where the image lies."""
    home = site(recipe.site)
    rng = recipe.rng("anatomy")
    parameters = draw_parameters(rng, pe=recipe.pe, site_traits=home.anatomy_traits)
    while recipe.kind and recipe.kind not in {embolus.kind for embolus in parameters.emboli}:
        parameters = draw_parameters(rng, pe=True, site_traits=home.anatomy_traits)
    preset = PRESETS[recipe.preset]
    scanner = site(recipe.scanner_site or recipe.site).scanner
    acquisition = scanner.draw(preset, recipe.rng("scanner"))
    return parameters, acquisition, image_grid(parameters, acquisition, preset)


def image_grid(parameters: PatientParameters, acquisition: Acquisition, preset: Preset) -> Grid:
    """The voxels of the scan: a square field of view about the body, and slices over the lungs.

    A preset with too few slices for the lungs keeps the middle of the chest, where the hila are.
    """
    low, high = parameters.scan_range_mm
    slices = int(np.ceil((high - low) / preset.increment_mm))
    if preset.max_slices is not None and slices > preset.max_slices:
        slices = preset.max_slices
        low = (low + high - slices * preset.increment_mm) / 2.0
    pixel = acquisition.pixel_mm
    corner = np.array(parameters.centre_mm) + acquisition.offset_mm - pixel * (acquisition.matrix - 1) / 2.0
    affine = make_affine((pixel, pixel, preset.increment_mm), (*corner, low + preset.increment_mm / 2.0))
    return Grid((slices, acquisition.matrix, acquisition.matrix), affine)


def _annotated(recipe: Recipe, scene: Scene, grid: Grid) -> tuple[np.ndarray, list[int]]:
    style = site(recipe.label_site or recipe.site).labels
    return annotate(
        style,
        scene.clot_sdf_mm,
        scene.lesions,
        scene.artery,
        grid.spacing_mm,
        recipe.rng("annotator"),
        {lesion["id"]: lesion["level"] == "subsegmental" for lesion in scene.facts["lesions"]},
    )


def _after(breath: Breath, hu: np.ndarray, grid: Grid, parameters: PatientParameters) -> np.ndarray:
    z, y, _ = grid.shape
    z_mm = grid.origin[2] + grid.spacing_mm[2] * np.arange(z)
    y_mm = grid.origin[1] + grid.spacing_mm[1] * np.arange(y)
    return breath.apply(hu, z_mm, y_mm, parameters.scan_range_mm)


def _map_after(breath: Breath, labels: np.ndarray, grid: Grid, parameters: PatientParameters) -> np.ndarray:
    """A label map (z, y, x) after the breath: each voxel takes the label that fills most of it."""
    best, moved = np.full(labels.shape, -1.0, np.float32), np.zeros_like(labels)
    for value in np.unique(labels):
        share = _after(breath, (labels == value).astype(np.float32), grid, parameters)
        larger = share > best
        best[larger], moved[larger] = share[larger], value
    return moved
