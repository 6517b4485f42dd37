"""A new plugin: a distribution with two stages, a manifest and tests, written from the templates beside this module.

A template is a file whose name ends with `.template`; `$name` in it, and `__name__` in its path, stand for what a
`Project` is called.
"""

from __future__ import annotations

import keyword
import re
import sys
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

import attrs
from packaging.utils import canonicalize_name
from packaging.version import Version

from stagegraph.errors import Fault, UsageError
from stagegraph.plugins import PROJECT, entries
from stagegraph.stages import ID

#: A distribution's name, as the packaging specifications have it.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_SUFFIX = ".template"


@attrs.frozen
class Project:
    """What a plugin is called: its distribution, its package, and the name that its ids begin with.

    `kind` says which templates it is made of: "text", which needs the engine alone, or "media".
    """

    distribution: str
    package: str
    plugin: str
    kind: str
    engine: str

    @property
    def dependencies(self) -> tuple[str, ...]:
        """What it requires. The distributions of this repository are released together, so one range holds for both."""
        media = (f"{PROJECT}-media{self.engine}", "numpy>=1.26")
        return (f"{PROJECT}{self.engine}", *(media if self.kind == "media" else ()))

    @classmethod
    def named(cls, distribution: str, *, media: bool = False) -> Project:
        """The names that follow from that of the distribution: stagegraph-sepia, stagegraph_sepia, sepia.

        Raises:
            UsageError: the name cannot be used, or there is a plugin of that name already.
        """
        if not _NAME.fullmatch(distribution):
            why = 'ASCII letters, digits, "-", "_" and ".", with a letter or digit at both ends'
            raise _invalid(f'"{distribution}" cannot be the name of a distribution', why)
        package = canonicalize_name(distribution).replace("-", "_")
        plugin = package.removeprefix(f"{PROJECT}_")
        if not ID.fullmatch(plugin) or keyword.iskeyword(package):
            what = f'"{plugin}" cannot be the name of a plugin, with which its stage ids begin'
            raise _invalid(what, "it must start with a letter and be no word of Python")
        if package in sys.stdlib_module_names or PROJECT in (package, plugin):
            raise _invalid(f'"{distribution}" cannot be used', f'"{plugin}" is taken')
        for _, origin in entries():
            if origin.plugin == plugin:
                what = f'there is a plugin "{plugin}" already, of {origin.distribution} {origin.version}'
                fix = f"use another name, or uninstall {origin.distribution}"
                raise UsageError(Fault("plugin_conflict", what, fix=fix))
        return cls(distribution, package, plugin, "media" if media else "text", compatible(metadata.version(PROJECT)))


def compatible(version: str) -> str:
    """The range of versions that keep the interface of one: `>=0.3,<0.4` for 0.3.2, `>=1.3,<2` for 1.3.0."""
    release = Version(version)
    end = f"0.{release.minor + 1}" if release.major == 0 else f"{release.major + 1}"
    return f">={release.major}.{release.minor},<{end}"


def write(project: Project, folder: Path) -> list[Path]:
    """Write a plugin into a folder, which is made, and give the files.

    Raises:
        UsageError: the folder is not empty, or cannot be written to.
    """
    files = sorted(_files(project).items())
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = f"{folder} exists and is not an empty folder"
            raise UsageError(Fault("folder_taken", what, fix="give another with --directory"))
        for path, text in files:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    except OSError as error:
        what = f"{folder} cannot be written to: {error.strerror}"
        raise UsageError(Fault("folder_taken", what, fix="give another with --directory")) from error
    return [folder / path for path, _ in files]


def _files(project: Project) -> dict[str, str]:
    """Path -> text: the templates that all kinds share, and those of the project's kind."""
    names = {
        "distribution": project.distribution,
        "package": project.package,
        "plugin": project.plugin,
        "dependencies": ", ".join(f'"{requirement}"' for requirement in project.dependencies),
    }
    templates = resources.files(__name__) / "templates"
    found = {}
    for kind in ("any", project.kind):
        for path, template in _walk(templates / kind, ""):
            for name, value in names.items():
                path = path.replace(f"__{name}__", value)
            found[path] = Template(template.read_text(encoding="utf-8")).substitute(names)
    return found


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    files = []
    for entry in folder.iterdir():
        if entry.is_dir():
            files += _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            files.append((prefix + entry.name.removesuffix(_SUFFIX), entry))
    return files


def _invalid(what: str, why: str) -> UsageError:
    return UsageError(Fault("invalid_name", what, why=why, fix=f"use a name such as {PROJECT}-sepia"))
