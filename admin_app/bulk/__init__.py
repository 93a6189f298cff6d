"""Changes of many rows at once, as operations one can follow, stop, repeat and take back. Knows no domain."""
