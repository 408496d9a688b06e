"""HRNet, CARAFE, discriminators. Only this room's modules other than config import torch."""
