"""
See L{alacrity.testserver}.
"""

from alacrity.testserver.command import main

main()
