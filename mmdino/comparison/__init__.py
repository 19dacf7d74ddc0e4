"""Comparison of methods: one plan of runs, their training, what is measured, and the tables."""
