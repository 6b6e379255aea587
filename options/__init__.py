"""From flags to one configuration: argparse, YAML files and the saved options of a run."""
