"""The command ``mmdino``.

A package of its own, since importing ``mmdino`` is an error where a dependency is missing, which
``mmdino doctor`` is there to tell. It imports neither torch nor OpenMMLab's packages before a tool
that needs them runs.
"""
