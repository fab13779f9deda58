"""
The command C{alacrity}.

L{alacrity.cli.command} parses the command line and imports little, so that C{--help} answers at
once; each subcommand has a module that it imports only to run it. To add one: its parser in
C{command.py}, and a module with C{run(options) -> int}.
"""
