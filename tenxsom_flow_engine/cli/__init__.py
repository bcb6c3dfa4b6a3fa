"""The command line. Modules import heavy libraries only when a command runs, so that `--help` is fast."""
