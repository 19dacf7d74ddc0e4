"""Code shared by the benchmarks; the library does not use it."""
