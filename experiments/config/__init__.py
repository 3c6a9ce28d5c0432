"""From a TOML file to the grid of its cells: everything is checked before the first one runs."""
