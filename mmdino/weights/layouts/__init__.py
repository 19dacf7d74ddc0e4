"""Tensor names of other projects, one file per layout with a pair of functions.

``to_mmdino`` renames a backbone's tensors to mmdino's names, which are mmpretrain's;
``from_mmdino`` is its inverse. Unknown tensors keep their names, so that errors can list them.
"""
