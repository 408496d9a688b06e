"""The networks of the papers' tables, row by row: what presets of a row change, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from PESemiSegLib.networks.config import NetworkConfig

TABLE_1 = {
    "unet2d": NetworkConfig(64, architecture="unet2d"),
    "unet25d": NetworkConfig(64, architecture="unet2d", context=5),
    "deeplabv3plus": NetworkConfig(64, "full", architecture="deeplabv3plus"),
    "hrnet": NetworkConfig(48, "full", stem="quarter", stage4=True, upsample="bilinear"),
    "hrnet_large": NetworkConfig(48, "full", stage4=True, upsample="bilinear"),
    "hrnet_large_carafe": NetworkConfig(48, "full", stage4=True),
    "hrnet_large_no_stage4": NetworkConfig(48, "full", upsample="bilinear"),
}
"""The main paper's Table 1; its last row, CARAFE without stage 4, is the preset `paper` itself."""

SMALL_TABLE_1 = {f"{name}_small": replace(row, width=16, depth="small") for name, row in TABLE_1.items()}
"""The same rows for two CPU cores: a quarter of the channels (HRNet: a third), small depth."""
