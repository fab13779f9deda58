"""
The plugin for C{twistd} and C{twist}: options and service.

It is imported before there is a reactor, so it imports little, and chooses the reactor.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from twisted.application.service import IService
from twisted.python.usage import Options as BaseOptions

import alacrity

if TYPE_CHECKING:
    from alacrity.config import Settings
    from alacrity.process.launch import Launch
    from alacrity.process.signals import Signals


_NEEDED: Final = ("alacrity.node.service", "klein", "treq")
"""Modules that are imported early, so that a missing one is reported before the start."""


class Options(BaseOptions):
    """
    The options of C{twistd alacrity}.

    @ivar settings: the configuration, once the options are parsed.
    @ivar launch: the way in which this process was started, likewise.
    @ivar pid_file: the file that C{twistd} would write; empty: none; L{None}: something else
        than C{twistd} runs the node.
    @ivar signals: the signal handlers; L{None}: neither C{twistd} nor C{twist} runs the node.
    """

    synopsis = "[options]"
    longdesc = (
        "An HTTP/1.1 reverse proxy and load balancer whose servers register themselves. "
        "Without a configuration it proxies on tcp:8080 and is managed on 127.0.0.1, port 8687."
    )
    optParameters: ClassVar = [
        ["config", "c", None, "Configuration file (TOML)."],
        ["state-dir", "s", "alacrity-state", "Where the pool is kept across restarts."],
        ["join", "j", None, "Join the cluster that has this management API (URL)."],
    ]
    optFlags: ClassVar = [
        ["check-config", None, "Say whether the configuration is in order, and exit."],
        [
            "force-new-cluster",
            None,
            "Go on as the only member, when most of the others are lost for good.",
        ],
    ]

    settings: Settings
    launch: Launch
    pid_file: str | None = None
    signals: Signals | None = None

    def __init__(self) -> None:
        super().__init__()
        self["proxy"] = []
        self["management"] = []

    def opt_proxy(self, description: str) -> None:
        """
        Endpoint string to proxy on, instead of the configured ones; repeatable.
        """
        self["proxy"].append(description)

    def opt_management(self, description: str) -> None:
        """
        Endpoint string to be managed on, instead of the configured ones; repeatable.
        """
        self["management"].append(description)

    def opt_version(self) -> None:
        """
        Show the version, and exit.
        """
        print(f"alacrity {alacrity.__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """
        Choose the reactor, while that can be done, and read the configuration.

        @raise SystemExit: the configuration is invalid, or was only to be checked; or a package
            is missing.
        """
        try:
            self._prepare()
        except ImportError as error:
            raise _fault(_missing(error)) from None

    def _prepare(self) -> None:
        from alacrity.process.daemon import fill_standard_descriptors

        if isinstance(self.parent, BaseOptions):
            fill_standard_descriptors()
        if not self["check-config"]:
            _choose_reactor()
        from alacrity.config import (
            ConfigurationError,
            Settings,
            load,
            override,
            require_listen,
            require_sockets,
            require_token,
        )
        from alacrity.node.cluster import require_secret

        try:
            settings = Settings() if self["config"] is None else load(Path(self["config"]))
            self.settings = override(settings, proxy=self["proxy"], management=self["management"])
            name = str(self["config"])
            require_token(self.settings, name=name, options=bool(self["management"]))
            require_sockets(
                self.settings,
                name=name,
                options=[table for table in ("proxy", "management") if self[table]],
                directory=self._run_directory(),
            )
            require_secret(self.settings, name=name)
            require_listen(self.settings, join=self["join"])
        except ConfigurationError as error:
            raise _fault(error) from None
        if self["check-config"]:
            print("configuration ok")
            raise SystemExit(0)
        for module in _NEEDED:
            importlib.import_module(module)
        self._take_over()

    def _run_directory(self) -> Path:
        """
        The directory that C{twistd} changes to.
        """
        parent: Any = self.parent
        return Path("." if parent is None else parent.get("rundir") or ".")

    def _take_over(self) -> None:
        """
        Take over from C{twistd} or C{twist} what neither does well: signals, log, pid file, and
        the change of user.
        """
        from alacrity.process.launch import Launch, LaunchError, launch
        from alacrity.process.signals import Signals
        from alacrity.runtime import logs

        parent: Any = self.parent
        if parent is None:
            self.launch = Launch()
            return
        try:
            if "fileLogObserverFactory" in parent:
                self.launch = Launch()
                logs.configure_twist(self.settings.log, parent)
            else:
                self.launch = launch(parent)
                self.pid_file = parent.get("pidfile") or ""
                parent["pidfile"] = ""
                if not parent.get("logger") and not parent.get("syslog"):
                    parent["logger"] = logs.configure(self.settings.log, parent, self.launch.owner)
        except (LaunchError, logs.LogError) as error:
            raise _fault(error) from None
        if isinstance(parent, BaseOptions):
            self.signals = Signals(logs.reopen, self.launch.end)
            self.signals.install()


def _missing(error: ImportError) -> str:
    """
    The fault of a package that cannot be imported, in one line.
    """
    name = error.name
    if name is None:
        # The package exists, and raised this itself.
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        name = str(frame.f_globals.get("__name__"))
    return (
        f"the package {name.partition('.')[0]} cannot be imported: {error}; install Alacrity with "
        "all that it depends on (python3 -m pip install .)"
    )


def _fault(error: object) -> SystemExit:
    """
    The end of the process, after a line with the fault.
    """
    if sys.stderr is not None:
        print(f"alacrity: {error}", file=sys.stderr)
    return SystemExit(1)


def _choose_reactor() -> None:
    """
    Install a reactor on uvloop, unless there is a reactor already: that of
    C{twistd --reactor} is installed by now.
    """
    if "twisted.internet.reactor" in sys.modules:
        return
    try:
        import uvloop
    except ImportError:
        return
    import asyncio

    from twisted.internet import asyncioreactor

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)


def makeService(options: Options) -> IService:
    """
    The service that C{twistd} runs.

    A daemon goes into the background here: late enough for C{twistd} to have looked at its
    options, and before it opens the log.
    """
    from twisted.internet import reactor

    from alacrity.node.control import Entry
    from alacrity.node.service import makeService
    from alacrity.process.launch import go
    from alacrity.process.pidfile import PidFileError
    from alacrity.runtime.clocks import keep_steady

    started = options.launch
    parent: Any = options.parent
    if parent is not None and options.pid_file is not None:
        try:
            go(started, reactor, parent, options.pid_file)
        except PidFileError as error:
            started.fail(str(error))
            raise SystemExit(1) from None
    keep_steady(reactor)
    if options.signals is not None:
        options.signals.serve(reactor)
    entry = Entry(options["join"], bool(options["force-new-cluster"]))
    service = makeService(reactor, options.settings, Path(options["state-dir"]), entry, started)
    if options.signals is not None:
        options.signals.on_hangup(service.reload)
    return service
