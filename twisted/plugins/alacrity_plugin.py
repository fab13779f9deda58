"""
Tells C{twistd} of Alacrity.
"""

from twisted.application.service import ServiceMaker

alacrity = ServiceMaker(
    "Alacrity",
    "alacrity.tap",
    "An HTTP/1.1 reverse proxy whose servers register themselves.",
    "alacrity",
)
