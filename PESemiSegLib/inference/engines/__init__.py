"""Owns the engines that run a model package: OpenVINO for CPUs, torch for CUDA and as fallback."""
