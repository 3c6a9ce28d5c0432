"""The only code with side effects: one TOML file is one experiment is one results folder."""
