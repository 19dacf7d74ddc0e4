"""What the converters share; no part of it is used by the library."""
