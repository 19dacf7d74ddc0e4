"""Weights in and out: files, the names of other projects, and backbones built from either."""
