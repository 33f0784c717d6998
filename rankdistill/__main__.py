"""Runs the command line for `python -m rankdistill`."""

from rankdistill.command_line import main

main()
