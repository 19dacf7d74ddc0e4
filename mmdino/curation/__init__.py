"""Curation of unlabelled images by their features: near-duplicates, retrieval, balance."""
