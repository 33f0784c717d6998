"""`python -m rankdistill`: the command line."""

from rankdistill.command_line import main

main()
