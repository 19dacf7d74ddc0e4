"""What the benchmarks in ``tools/benchmarks`` share; no part of it is used in training."""
