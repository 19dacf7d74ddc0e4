"""Code shared by the converters; the library does not use it."""
