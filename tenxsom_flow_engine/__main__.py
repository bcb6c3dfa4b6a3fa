"""Entry point of `python -m tenxsom_flow_engine`: the command line without an installed script."""

from tenxsom_flow_engine.cli.main import main

if __name__ == "__main__":
    main("python -m tenxsom_flow_engine")
