"""
The configuration: a TOML file and options, read into frozen settings.

Every fault is a L{ConfigurationError} of one line that names the file (or option),
the key, what was found and what is allowed.
"""

from alacrity.config.balance import BalanceSettings, QueueSettings, StickySettings
from alacrity.config.cluster import ClusterSettings
from alacrity.config.consistency import require_listen, require_sockets, require_token
from alacrity.config.ejection import EjectionSettings
from alacrity.config.faults import ConfigurationError
from alacrity.config.health import HealthSettings
from alacrity.config.log import LogSettings
from alacrity.config.management import ManagementSettings
from alacrity.config.proxy import LimitSettings, ProxySettings, TimeoutSettings
from alacrity.config.reading import load, override, parse
from alacrity.config.retries import RetrySettings
from alacrity.config.settings import Settings

__all__ = [
    "BalanceSettings",
    "ClusterSettings",
    "ConfigurationError",
    "EjectionSettings",
    "HealthSettings",
    "LimitSettings",
    "LogSettings",
    "ManagementSettings",
    "ProxySettings",
    "QueueSettings",
    "RetrySettings",
    "Settings",
    "StickySettings",
    "TimeoutSettings",
    "load",
    "override",
    "parse",
    "require_listen",
    "require_sockets",
    "require_token",
]
