"""The projects that weights are converted to."""

SUFFIXES = {
    "mmdino": (".pth", ".safetensors"),
    "authors": (".pth",),
    "timm": (".pth", ".safetensors"),
    "huggingface": ("",),
}
"""Allowed suffixes of each project's files; Hugging Face has a folder."""
