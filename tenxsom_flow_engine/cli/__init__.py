"""The command line. Modules here import nothing heavy until a command runs, so that `--help` is quick."""
