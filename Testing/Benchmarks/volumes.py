"""A whole 512x512x300 volume: the product's `segment` and its network alone, against the literal network."""

from __future__ import annotations

from typing import Any

import numpy as np
from measuring import interleaved, medians
from subjects import Model, OpenVino, eager, literal, network_input, scan, segmenter_graph

from PESemiSegLib.inference.lungs import lung_mask
from PESemiSegLib.inference.segment import plan, segment

SLICES, SIZE = 300, 512


def measure(model: Model, rounds: int) -> dict[str, Any]:
    """Seconds of one thread for the volume, and ratios.

    The literal network is measured on one whole slice and multiplied by the slices. `segment` runs whole:
    check, lungs, network, discriminator, filter, findings; in turn with the others, as a busy machine slows
    all of them.
    """
    volume = scan("standard", SLICES)
    preparer, box = plan(volume, model.package, lung_mask(volume.hu, volume.spacing_mm))
    cropped = np.ascontiguousarray(preparer.input((box.start[0] + box.stop[0]) // 2)[None], dtype=np.float32)
    whole = network_input(volume.hu, [SLICES // 2], model.package, SIZE)
    in_box = OpenVino(segmenter_graph(model.package), cropped.shape, "f32")
    on_whole = OpenVino(segmenter_graph(model.package), whole.shape, "f32")
    seconds = medians(
        interleaved(
            {
                "literal, whole slice": eager(literal(model.segmenter), whole),
                "shipped, whole slice": on_whole.subject(whole),
                "shipped, lung box": in_box.subject(cropped),
                "segment": lambda: segment(
                    volume, model.package, device="cpu", precision="fp32", engine="openvino", threads=1
                ),
            },
            rounds,
        )
    )
    product = seconds.pop("segment")
    depth = box.shape[0]
    literal_volume = SLICES * seconds["literal, whole slice"]
    network = depth * seconds["shipped, lung box"]
    return {
        "shape": list(volume.shape),
        "box": list(box.shape),
        "network_input": list(cropped.shape[2:]),
        "seconds_per_slice": seconds,
        "literal_seconds": literal_volume,
        "shipped_all_slices_seconds": SLICES * seconds["shipped, whole slice"],
        "network_seconds": network,
        "segment_seconds": product,
        "segment_times_faster": literal_volume / product,
        "network_times_faster": literal_volume / network,
    }
