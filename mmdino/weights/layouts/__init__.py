"""Names that other projects give the same tensors, one file a layout, each a pair of functions.

``to_mmdino`` renames a backbone's tensors to mmpretrain's names, mmdino's too; ``from_mmdino``
names them back. Tensors that a layout does not know keep their names, so that whoever compares
them with a network can say which they are.
"""
