"""
See L{alacrity.cli}.
"""

from alacrity.cli.command import entry

entry()
