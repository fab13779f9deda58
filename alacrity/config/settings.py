"""
The whole configuration.
"""

from __future__ import annotations

import msgspec

from alacrity.config.balance import BalanceSettings, QueueSettings, StickySettings
from alacrity.config.cluster import ClusterSettings
from alacrity.config.ejection import EjectionSettings
from alacrity.config.health import HealthSettings
from alacrity.config.log import LogSettings
from alacrity.config.management import ManagementSettings
from alacrity.config.proxy import LimitSettings, ProxySettings, TimeoutSettings
from alacrity.config.retries import RetrySettings


class Settings(msgspec.Struct, frozen=True):
    """
    The whole configuration, a table each.
    """

    proxy: ProxySettings = ProxySettings()
    management: ManagementSettings = ManagementSettings()
    health: HealthSettings = HealthSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    limits: LimitSettings = LimitSettings()
    balance: BalanceSettings = BalanceSettings()
    sticky: StickySettings = StickySettings()
    queue: QueueSettings = QueueSettings()
    ejection: EjectionSettings = EjectionSettings()
    retries: RetrySettings = RetrySettings()
    cluster: ClusterSettings = ClusterSettings()
    log: LogSettings = LogSettings()

    @property
    def descriptions(self) -> tuple[str, ...]:
        """The endpoint strings of all that the node listens on."""
        return (*self.proxy.listen, *self.management.listen, *self.cluster.listen)
