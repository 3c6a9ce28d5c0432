"""One file per command, of the command's name: ``main(argv) -> exit code``."""
