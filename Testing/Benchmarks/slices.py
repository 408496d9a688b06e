"""Per slice at 400x400: the literal network against the shipped engines, and whether their masks agree."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import torch
from measuring import convolution_flop, convolution_peaks, interleaved, medians, spread
from subjects import Model, OpenVino, eager, folded, literal, most_clot, network_input, scan, segmenter_graph

from PESemiSegLib.inference.engines.select import cpu_has_bf16

SIZE = 400
AGREEMENT_SLICES = 16


def measure(model: Model, rounds: int) -> dict[str, Any]:
    """Times, ratios, share of the convolution peak, and agreement with float64."""
    images = _images(model)
    image = images[:1]
    engines = {"fp32": OpenVino(segmenter_graph(model.package), image.shape, "f32")}
    engines["bf16"] = OpenVino(segmenter_graph(model.package), image.shape, "bf16")
    naive = literal(model.segmenter)
    peaks, peak_flop = convolution_peaks()
    seconds = interleaved(
        {
            "literal": eager(naive, image),
            "eager": eager(copy.deepcopy(model.segmenter).eval(), image),
            "folded": eager(folded(model.segmenter), image),
            "fp32": engines["fp32"].subject(image),
            "bf16": engines["bf16"].subject(image),
            **peaks,
        },
        rounds,
    )
    middle = medians(seconds)
    peak = max(flop / middle[name] for name, flop in peak_flop.items())
    flop = convolution_flop(naive, eager(naive, image))
    names = [name for name in seconds if name not in peaks]
    return {
        "size": SIZE,
        "rounds": rounds,
        "milliseconds": {name: 1e3 * middle[name] for name in names},
        "milliseconds_range": {name: [1e3 * s for s in spread(seconds)[name]] for name in names},
        "times_faster_than_literal": {name: middle["literal"] / middle[name] for name in names},
        "gflop_convolutions": flop / 1e9,
        "gflops_convolution_peak": peak / 1e9,
        "share_of_convolution_peak": {name: flop / middle[name] / peak for name in names},
        "cpu_has_bf16": cpu_has_bf16(),
        "agreement": agreement(model, images, engines),
    }


def agreement(model: Model, images: np.ndarray, engines: dict[str, OpenVino]) -> dict[str, Any]:
    """Masks of each form against those of torch in float64, over slices with emboli."""
    exact = np.concatenate([_forward(copy.deepcopy(model.segmenter).double(), i, np.float64) for i in images])
    cut = _cut(model, exact)
    found = {name: np.concatenate([np.array(run(i[None])) for i in images]) for name, run in engines.items()}
    with torch.autocast("cpu", torch.bfloat16):
        found["bf16 by torch autocast"] = np.concatenate(
            [_forward(model.segmenter, i, np.float32) for i in images]
        )
    reference = exact > cut
    return {
        "slices": len(images),
        "marked_pixels": int(reference.sum()),
        "cut": "the model's threshold" if model.trained else "95th percentile of random logits",
        "forms": {
            name: {
                "dice": _dice(logits > cut, reference),
                "pixels_that_differ": int(((logits > cut) != reference).sum()),
                "largest_logit_error": float(np.abs(logits - exact).max()),
            }
            for name, logits in found.items()
        },
    }


def _images(model: Model) -> np.ndarray:
    """The slices of a made-up patient with the most clot; the first is the one that is timed."""
    hu = scan("medium").hu
    if min(hu.shape[1:]) < SIZE:
        short = [max(0, SIZE - length) for length in hu.shape[1:]]
        hu = np.pad(hu, ((0, 0), *((s // 2, s - s // 2) for s in short)), constant_values=-1024)
    return network_input(hu, most_clot("medium", AGREEMENT_SLICES), model.package, SIZE)


def _forward(network: torch.nn.Module, image: np.ndarray, dtype: type) -> np.ndarray:
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return network.eval()(torch.from_numpy(image[None].astype(dtype))).numpy()


def _cut(model: Model, logits: np.ndarray) -> float:
    if not model.trained:
        return float(np.quantile(logits, 0.95))
    threshold = model.package.info.threshold
    return float(np.log(threshold / (1 - threshold)))


def _dice(mask: np.ndarray, reference: np.ndarray) -> float:
    total = int(mask.sum()) + int(reference.sum())
    return 1.0 if total == 0 else float(2 * (mask & reference).sum() / total)
