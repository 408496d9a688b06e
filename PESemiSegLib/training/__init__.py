"""Trainer, strategies, losses, health monitor, checkpoints."""
