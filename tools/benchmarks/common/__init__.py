"""What the benchmarks share; no part of it is used in training."""
