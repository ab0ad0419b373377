"""`python -m eos` is the `eos` command."""

from eos.cli import main

main()
