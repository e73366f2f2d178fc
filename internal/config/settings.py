"""Prints settings.txt, or with the argument "aws" settings-aws.txt, from an
installed Prefect: see the heads of those files."""

import inspect
import os
import sys

os.environ["PREFECT_HOME"] = os.devnull + "-none"
for name in ("PREFECT_PROFILES_PATH", "SSL_CERT_FILE"):
    os.environ.pop(name, None)

import prefect
from prefect.settings.base import PrefectBaseSettings
from prefect.settings.models.root import Settings
from pydantic import AliasChoices
from pydantic_core import PydanticUndefined

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


def default(field, kind):
    value = field.default
    if value is None or value is PydanticUndefined or kind not in ("bool", "int", "float", "level", "text"):
        return "-"
    text = str(float(value)) if kind == "float" else str(value)
    return text if text and not any(c.isspace() for c in text) else "-"


SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def bounds(field):
    """What a number must be, as in ">=1,<=10000"."""
    found = [(sign, getattr(rule, key, None)) for rule in field.metadata for key, sign in SIGNS.items()]
    return ",".join(f"{sign}{limit:g}" for sign, limit in found if isinstance(limit, (int, float))) or "-"


def walk(model, path):
    for key, field in model.model_fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, PrefectBaseSettings):
            yield from walk(field.annotation, [*path, key])
            continue
        name = model.model_config["env_prefix"] + key.upper()
        alias = field.validation_alias
        others = [a.upper() for a in alias.choices if isinstance(a, str)] if isinstance(alias, AliasChoices) else []
        others = [other for other in others if other != name]
        what = kind(name, field.annotation)
        yield name, ".".join([*path, key]), what, ",".join(others) or "-", default(field, what), bounds(field)


if sys.argv[1:] == ["aws"]:
    import prefect_aws
    from prefect_aws.settings import AwsSettings

    whose, model, path, name = f"prefect-aws {prefect_aws.__version__}", AwsSettings, ["integrations", "aws"], "settings-aws.txt"
else:
    whose, model, path, name = f"Prefect {prefect.__version__}", Settings, [], "settings.txt"
print(f"# The settings that {whose} recognises, in the order of its settings model:")
print("# name, path in TOML, kind, older names, default, bounds. Made with the Python of an environment that has it:")
print(f"# python internal/config/settings.py{' aws' if path else ''} > internal/config/{name}")
for row in walk(model, path):
    print(*row)
