"""Run `flet build` on a copy of this project as far as it goes without Flutter; print what it read.

Run by tests/test_app_android.py with the Python of an environment that has flet-cli:

    python flet_build_probe.py PROJECT MANIFEST [option of flet build ...]

Everything that reads our configuration is Flet's own code. Left out are only the steps that need
the network or Flutter: installing the SDKs, filling Flet's template, running Dart and Gradle.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PROJECT, MANIFEST, *OPTIONS = sys.argv[1:]
os.environ["FLET_PYTHON_BUILD_MANIFEST"] = MANIFEST  # instead of fetching the list of Pythons

from flet_cli.cli import get_parser  # noqa: E402
from flet_cli.commands import flutter_base  # noqa: E402
from flet_cli.commands.build import Command  # noqa: E402

seen: dict[str, Any] = {"commands": [], "log": []}


def without_sdks(self: Command) -> None:
    """Stand for the installation of Flutter, Java and the Android SDK."""
    self.skip_flutter_doctor = True
    self.emojis = dict.fromkeys(("checkmark", "loading", "success", "directory"), "")
    self.flutter_exe, self.dart_exe = "flutter", "dart"


def remember_command(self: Command, arguments: list[str], **_: Any) -> SimpleNamespace:
    """Stand for Dart and Flutter: remember what they were told, and say that all went well."""
    seen["commands"].append(arguments)
    if "package" in arguments:
        (self.build_dir / "python-app").mkdir(parents=True, exist_ok=True)
    return SimpleNamespace(returncode=0, stdout="", stderr="")


def without_template(self: Command, second_pass: bool = False) -> bool:
    """Stand for the template, which is fetched from the network; keep what it would be given."""
    self.flutter_dir.mkdir(parents=True, exist_ok=True)
    self.template_data["bundle_id"] = self.template_data["bundle_id"] or "of.the.template"
    self.template_digest = ""
    seen["template"] = {
        key: value for key, value in self.template_data.items() if key != "pyproject"
    }
    return False


def remember_log(*parts: Any, **_: Any) -> None:
    seen["log"].append(" ".join(map(str, parts)))


flutter_base.BaseFlutterCommand.initialize_command = without_sdks
flutter_base.console.log = remember_log
Command.run = remember_command
Command.create_flutter_project = without_template
Command.copy_build_output = lambda self: None

arguments = get_parser().parse_args(["build", "apk", PROJECT, "--yes", *OPTIONS])
with contextlib.redirect_stdout(io.StringIO()) as talk:
    try:
        arguments.handler(arguments)
        seen["exit"] = 0
    except SystemExit as done:
        seen["exit"] = done.code
seen["talk"] = talk.getvalue()
icons = Path(PROJECT, "build/flutter")
seen["files"] = sorted(str(path.relative_to(icons)) for path in icons.rglob("*.png"))
print(json.dumps(seen))
