"""A package that adds to oneway without a fork: one file for each thing, named by an entry point in pyproject.toml."""
