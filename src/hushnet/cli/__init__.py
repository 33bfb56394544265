"""The `hush` command: composition roots, and the only package that may import everything."""
