"""``python -m trustplane`` is the command line."""

from trustplane.cli import main

main()
