"""Find integrations by name, and create them: the built-in ones, and those of other packages by an entry point."""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points

from loader.errors import UsageError
from loader.integrations.addresses import HttpRules
from loader.integrations.http import HttpClient
from loader.integrations.protocol import Integration, Options

#: The entry point group by which other packages add integrations: `my-target = "my_package.my_module:MyTarget"`.
GROUP = "selligent_loader.integrations"
#: The built-in integrations: module and class.
BUILT_IN = {
    "amplitude": "loader.integrations.amplitude:Amplitude",
    "ga4": "loader.integrations.ga4:GoogleAnalytics",
    "mixpanel": "loader.integrations.mixpanel:Mixpanel",
    "posthog": "loader.integrations.posthog:PostHog",
    "s3": "loader.integrations.s3:Archive",
    "selligent": "loader.integrations.selligent.integration:Selligent",
    "segment": "loader.integrations.segment:Segment",
    "webhook": "loader.integrations.webhook:Webhook",
}


def kinds() -> list[str]:
    """Return the names of all integrations that are installed."""
    return sorted({*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))})


def find_kind(name: str) -> type[Integration]:
    """Return the class of an integration.

    Raises UsageError if there is none of that name, or if its package cannot be imported.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        found: type[Integration] = getattr(import_module(module), attribute)
        return found
    for entry in entry_points(group=GROUP, name=name):
        try:
            loaded: type[Integration] = entry.load()
        except Exception as exc:
            raise UsageError(f"the integration {name!r} of {entry.value!r} cannot be imported: {exc}") from exc
        return loaded
    raise UsageError(f"there is no integration {name!r}; there are {', '.join(kinds())}")


def create(name: str, settings: Mapping[str, str], secret: str, rules: HttpRules) -> Integration:
    """Return an integration.

    Raises UsageError for an unknown name, for settings that are missing, unknown or invalid, and for a missing secret.
    """
    kind = find_kind(name)
    complete = check_settings(kind, settings)
    if kind.secret and not kind.secret.is_optional and not secret:
        raise UsageError(f"{name} needs a secret: {kind.secret.help} Use --secret-from-stdin or --secret-file.")
    if secret and not kind.secret:
        raise UsageError(f"{name} has no secret")
    return kind(Options(complete, HttpClient(rules, (secret,)), secret))


def check_settings(kind: type[Integration], given: Mapping[str, str]) -> dict[str, str]:
    """Return all settings of an integration, with their defaults.

    Raises UsageError for settings that are missing, unknown, or none of their choices.
    """
    known = {setting.name: setting for setting in kind.settings}
    if unknown := sorted(given.keys() - known.keys()):
        raise UsageError(f"{kind.name} has no setting {unknown[0]!r}; it has {', '.join(known) or 'none'}")
    complete: dict[str, str] = {}
    for name, setting in known.items():
        value = given.get(name, setting.default)
        if value is None:
            raise UsageError(f"{kind.name} needs --set {name}=…: {setting.help}")
        if setting.choices and value not in setting.choices:
            raise UsageError(f"the setting {name} is {value!r}; it can be {', '.join(setting.choices)}")
        complete[name] = value
    return complete
