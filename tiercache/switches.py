"""Switches: what a running process uses each tier for, by namespace and by a share of the keys.

| mode | reads | entries are stored | changed and deleted entries are removed |
|---|---|---|---|
| `on` | yes | yes | yes |
| `off` | no | no | yes |
| `read-only` | yes | no | yes |
| `write-only` | no | yes, not copied up into it | yes |
| `shadow` | compared and counted, never served | as `write-only` | yes |

Whatever the mode, a change removes what it replaces, and invalidations, notices and leases go on: so no tier ever holds
what is old, and each may be switched back at any moment. A store that fails to remove something answers no reads for
it, as ever. A `ramp` of less than 100 uses the tier for that share of the keys, always the same ones; for the others it
is off.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from blake3 import blake3

from . import fork
from .errors import ConfigurationError
from .keys import check_namespace
from .spelling import did_you_mean

Mode = Literal["on", "off", "read-only", "write-only", "shadow"]
_STEPS = 10_000
"""The steps of a ramp: hundredths of a percent."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a tier is used for.

    Attributes:
        mode: `on`, `off`, `read-only`, `write-only` or `shadow`.
        ramp: the percentage of the keys for which that holds, 0 to 100; for the others the tier is off.

    Raises:
        ConfigurationError: no such mode, or no percentage.
    """

    mode: Mode = "on"
    ramp: float = 100.0

    def __post_init__(self) -> None:
        modes = get_args(Mode)
        if not isinstance(self.mode, str) or self.mode not in modes:
            shown = repr(self.mode) if isinstance(self.mode, str) else f"a {type(self.mode).__name__}"
            hint = did_you_mean(self.mode, modes) if isinstance(self.mode, str) else ""
            raise ConfigurationError(f"mode must be one of {', '.join(modes)}, not {shown}{hint}")
        ramp = self.ramp
        if isinstance(ramp, bool) or not isinstance(ramp, (int, float)) or not 0 <= ramp <= 100:
            raise ConfigurationError("ramp must be a percentage, 0 to 100")

    @property
    def is_usual(self) -> bool:
        """Whether it is as if nothing was said."""
        return self.mode == "on" and self.ramp == 100

    @property
    def reads(self) -> bool:
        """Whether entries are served from the tier, of the keys that it is used for."""
        return self.mode in ("on", "read-only")

    @property
    def stores(self) -> bool:
        """Whether entries are stored in it, of the keys that it is used for."""
        return self.mode in ("on", "write-only", "shadow")

    def covers(self, key: str) -> bool:
        """Whether the tier is used for this key."""
        return self.ramp == 100 or place_of(key) < self.ramp

    def __str__(self) -> str:
        return self.mode if self.ramp == 100 else f"{self.mode}, {self.ramp:g} % of the keys"


USUAL = Setting()


def place_of(key: str) -> float:
    """Return where a key stands on every ramp, 0 to 100: the same in all processes and for ever."""
    digest = blake3(key.encode("utf-8", "surrogatepass")).digest(8)
    return int.from_bytes(digest, "big") % _STEPS * 100 / _STEPS


class Switch:
    """All settings of one tier; it is replaced as a whole, never changed.

    Args:
        setting: for all namespaces that are not named.
        namespaces: for those that are.
    """

    __slots__ = ("namespaces", "setting")

    def __init__(self, setting: Setting = USUAL, namespaces: Mapping[str, Setting] | None = None) -> None:
        self.setting = setting
        self.namespaces = dict(namespaces or {})

    def of(self, namespace: str) -> Setting:
        """Return the setting of a namespace."""
        return self.namespaces.get(namespace, self.setting)

    def of_key(self, key: str) -> Setting:
        """Return the setting of a full key."""
        return self.namespaces.get(key[: key.find(":")], self.setting) if self.namespaces else self.setting

    def reads(self, key: str) -> bool:
        """Whether the tier answers reads of this key."""
        setting = self.of_key(key)
        return setting.reads and setting.covers(key)

    def stores(self, key: str) -> bool:
        """Whether the tier stores entries of this key."""
        setting = self.of_key(key)
        return setting.stores and setting.covers(key)

    def shadows(self, key: str) -> bool:
        """Whether the tier is compared with what others answer for this key."""
        setting = self.of_key(key)
        return setting.mode == "shadow" and setting.covers(key)

    @property
    def is_usual(self) -> bool:
        """Whether it is as if there was none."""
        return self.setting.is_usual and all(one.is_usual for one in self.namespaces.values())

    @property
    def has_shadow(self) -> bool:
        """Whether anything is compared."""
        return any(one.mode == "shadow" for one in (self.setting, *self.namespaces.values()))

    def __str__(self) -> str:
        return "; ".join([str(self.setting), *(f"{name}: {one}" for name, one in sorted(self.namespaces.items()))])


class Switchable(Protocol):
    """A tier."""

    switch: Switch | None

    @property
    def label(self) -> str:
        """Its name."""
        ...


class Listener(Protocol):
    """Something that follows the switches, such as a cache that reads memory without asking them each time."""

    def switched(self) -> None:
        """The switches have changed."""
        ...


class Switches:
    """The switches of a chain: `chain.switches.set("s3", "off")`. They hold in this process, from then on.

    Args:
        tiers: those of the chain.

    Attributes:
        shadowing: the tiers that are compared with what others answer, for some keys at least.
    """

    def __init__(self, tiers: Sequence[Switchable]) -> None:
        self._tiers = tiers
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self.shadowing: tuple[Switchable, ...] = ()
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """Make the lock anew; a child begins with the switches of its parent."""
        self._lock = threading.Lock()

    def set(self, tier: str, mode: Mode = "on", *, namespace: str | None = None, ramp: float = 100.0) -> None:
        """Use a tier for this from now on; calls that are under way may end as they began.

        Args:
            tier: its name.
            mode: `on`, `off`, `read-only`, `write-only` or `shadow`.
            namespace: for this one alone, whatever holds for the others; None: for all that have none of their own.
            ramp: the percentage of the keys for which that holds, 0 to 100; for the others the tier is off.

        Raises:
            ConfigurationError: no tier has this name, or something else is none.
        """
        setting = Setting(mode, ramp)
        if namespace is not None:
            check_namespace(namespace)
        found = self._named(tier)
        with self._lock:
            before = found.switch or Switch()
            if namespace is None:
                found.switch = _shortest(Switch(setting, before.namespaces))
            else:
                found.switch = _shortest(Switch(before.setting, before.namespaces | {namespace: setting}))
            self.changed()

    def get(self, tier: str, namespace: str | None = None) -> Setting:
        """Return what a tier is used for in a namespace; None: in those that have no setting of their own."""
        switch = self._named(tier).switch
        if switch is None:
            return USUAL
        return switch.setting if namespace is None else switch.of(namespace)

    def replace(self, settings: Mapping[tuple[str, str | None], Setting]) -> None:
        """Set all switches at once, by tier and namespace (None: all others); what is not named is on.

        Raises:
            ConfigurationError: no tier has this name; nothing was changed.
        """
        for tier, namespace in settings:
            self._named(tier)
            if namespace is not None:
                check_namespace(namespace)
        with self._lock:
            for each in self._tiers:
                own = {namespace: one for (label, namespace), one in settings.items() if label == each.label}
                usual = own.pop(None, USUAL)
                each.switch = _shortest(Switch(usual, {str(name): one for name, one in own.items()}))
            self.changed()

    def reset(self) -> None:
        """Switch everything on."""
        self.replace({})

    def reload(self, path: str | os.PathLike[str]) -> None:
        """Set all switches as `[switches]` of a TOML file says; what it does not name is on.

        The rest of the file is read, too, and not used: what is wrong anywhere changes nothing.

        Raises:
            ConfigurationError: the file cannot be read, or says something that means nothing.
        """
        from .config.loading import switches_in

        self.replace(switches_in(path, self))

    def as_dict(self) -> dict[str, str]:
        """Return the switches of all tiers in words."""
        return {tier.label: shown(tier) for tier in self._tiers}

    def follow(self, listener: Listener) -> None:
        """Tell somebody of all changes from now on, as long as it lives."""
        with self._lock:
            self._listeners.add(listener)

    def check(self, tier: str) -> None:
        """Raise a ConfigurationError unless a tier has this name."""
        self._named(tier)

    def __repr__(self) -> str:
        said = [f"{tier.label}: {tier.switch}" for tier in self._tiers if tier.switch is not None]
        return f"<Switches {', '.join(said) or 'all on'}>"

    def _named(self, name: str) -> Switchable:
        for tier in self._tiers:
            if tier.label == name:
                return tier
        labels = [tier.label for tier in self._tiers]
        hint = did_you_mean(name, labels) if isinstance(name, str) else ""
        raise ConfigurationError(f"no tier is named {str(name)!r}{hint}; there are {', '.join(labels) or 'none'}")

    def changed(self) -> None:
        """Tell those who follow; also when hits in memory are to be read in another way (`TierChain.record`)."""
        self.shadowing = tuple(tier for tier in self._tiers if tier.switch is not None and tier.switch.has_shadow)
        for listener in list(self._listeners):
            listener.switched()


def shown(tier: Switchable) -> str:
    """Return what a tier is used for, in words: `on`, or `off; docs: shadow, 25 % of the keys`."""
    return "on" if tier.switch is None else str(tier.switch)


def _shortest(switch: Switch) -> Switch | None:
    return None if switch.is_usual else switch
