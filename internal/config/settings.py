"""Prints settings.txt from an installed Prefect: see the head of that file."""

import inspect
import os
import sys

os.environ["PREFECT_HOME"] = os.devnull + "-none"
os.environ.pop("PREFECT_PROFILES_PATH", None)

import prefect
from prefect.settings.base import PrefectBaseSettings
from prefect.settings.models.root import Settings
from pydantic import AliasChoices, SecretStr

KINDS = {"bool": "bool", "int": "int", "float": "float", "str": "text", "Path": "path"}


def kind(name, annotation):
    text = str(annotation)
    if "SecretStr" in text:
        return "secret"
    if name == "PREFECT_CLIENT_CUSTOM_HEADERS":
        return "headers"
    if "'CRITICAL'" in text:
        return "level"
    for typ, word in KINDS.items():
        if text in (f"<class '{typ}'>", f"<class 'pathlib.{typ}'>", f"typing.Optional[{typ}]", f"{typ} | None"):
            return word
    if "list[str]" in text or "set[" in text and "bool" not in text:
        return "list"
    return "other"


def walk(model, path):
    for key, field in model.model_fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, PrefectBaseSettings):
            yield from walk(field.annotation, [*path, key])
            continue
        name = model.model_config["env_prefix"] + key.upper()
        alias = field.validation_alias
        others = [a.upper() for a in alias.choices if isinstance(a, str)] if isinstance(alias, AliasChoices) else []
        others = [other for other in others if other != name]
        yield name, ".".join([*path, key]), kind(name, field.annotation), ",".join(others) or "-"


print(f"# The settings that Prefect {prefect.__version__} recognises, in the order of its settings model:")
print("# name, path in TOML, kind, older names. Made with the Python of an environment that has prefect:")
print("# python internal/config/settings.py > internal/config/settings.txt")
for row in walk(Settings, []):
    print(*row)
