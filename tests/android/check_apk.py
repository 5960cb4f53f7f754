"""Hold built APKs to what they may weigh and ask for: run by .github/workflows/android.yml.

    python tests/android/check_apk.py build/apk/*.apk

Needs the Android SDK's build tools (ANDROID_HOME) for ``aapt2``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MAX_MB = 40.0
MIN_SDK = 26
#: The camera, and what AndroidX declares for an app's own receivers: nobody else can hold it.
PERMISSIONS = {"android.permission.CAMERA", "{package}.DYNAMIC_RECEIVER_NOT_EXPORTED_PERMISSION"}
ABIS = {"arm64-v8a", "armeabi-v7a", "x86_64"}


@dataclass(frozen=True)
class Badge:
    """What an APK says of itself."""

    package: str
    version: str
    min_sdk: int
    target_sdk: int
    permissions: frozenset[str]
    abis: frozenset[str]
    label: str


def read_badge(text: str) -> Badge:
    """Return what ``aapt2 dump badging`` printed.

    Raises:
        ValueError: something that every APK has is missing.
    """

    def one(pattern: str) -> str:
        found = re.search(pattern, text, re.MULTILINE)
        if found is None:
            raise ValueError(f"aapt2 dump badging: nothing like {pattern!r} in\n{text[:2000]}")
        return found[1]

    abis = re.search(r"^native-code:(.*)$", text, re.MULTILINE)
    return Badge(
        package=one(r"^package: name='([^']+)'"),
        version=one(r"^package: .*versionName='([^']*)'"),
        min_sdk=int(one(r"^(?:minSdkVersion|sdkVersion):'(\d+)'")),
        target_sdk=int(one(r"^targetSdkVersion:'(\d+)'")),
        permissions=frozenset(re.findall(r"^uses-permission[^:]*: name='([^']+)'", text, re.M)),
        abis=frozenset(re.findall(r"'([^']+)'", abis[1]) if abis else ()),
        label=one(r"^application-label:'([^']*)'"),
    )


def faults(badge: Badge, manifest: str, n_bytes: int) -> list[str]:
    """Return what is wrong with an APK, in words; empty: nothing.

    Args:
        badge: what it says of itself.
        manifest: ``aapt2 dump xmltree`` of its AndroidManifest.xml.
        n_bytes: of the file.
    """
    found = []
    if n_bytes > MAX_MB * 1e6:
        found.append(f"{n_bytes / 1e6:.1f} MB; at most {MAX_MB:.0f} MB are allowed")
    if badge.min_sdk != MIN_SDK:
        found.append(f"minSdk is {badge.min_sdk}, not {MIN_SDK}")
    allowed = {name.format(package=badge.package) for name in PERMISSIONS}
    if extra := badge.permissions - allowed:
        found.append(f"asks for {', '.join(sorted(extra))}")
    if missing := {"android.permission.CAMERA"} - badge.permissions:
        found.append(f"does not ask for {', '.join(missing)}")
    if len(badge.abis) != 1 or not badge.abis <= ABIS:
        found.append(f"is for {sorted(badge.abis)}; one of {sorted(ABIS)} each")
    for attribute in ("allowBackup", "usesCleartextTraffic"):
        false = r"(false|\(type 0x12\)0x0)"  # of aapt2, of older ones
        if not re.search(rf"android:{attribute}\(0x[0-9a-f]+\)={false}\s*$", manifest, re.M):
            found.append(f"android:{attribute} is not false")
    return found


def aapt2() -> Path:
    """Return the newest ``aapt2`` of the SDK.

    Raises:
        FileNotFoundError: there is none.
    """
    tools = Path(os.environ["ANDROID_HOME"], "build-tools")
    found = sorted(tools.glob("*/aapt2"), key=lambda path: [*map(int, path.parent.name.split("."))])
    if not found:
        raise FileNotFoundError(f"{tools}: no aapt2; sdkmanager 'build-tools;36.0.0'")
    return found[-1]


def dump(*arguments: str) -> str:
    """Return what ``aapt2 dump`` prints."""
    done = subprocess.run(
        [str(aapt2()), "dump", *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def main(paths: list[str]) -> int:
    """Check every APK, print a line for each; 1 if anything is wrong, or one is missing."""
    wrong = 0
    seen: set[str] = set()
    for path in map(Path, paths):
        badge = read_badge(dump("badging", str(path)))
        seen |= badge.abis
        found = faults(
            badge,
            dump("xmltree", "--file", "AndroidManifest.xml", str(path)),
            path.stat().st_size,
        )
        wrong += len(found)
        print(
            f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {badge.package} {badge.version}, "
            f"API {badge.min_sdk} to {badge.target_sdk}, {', '.join(sorted(badge.permissions))}"
        )
        for fault in found:
            print(f"::error::{path.name}: {fault}")
    if seen != ABIS:
        print(f"::error::APKs for {sorted(seen)}; {sorted(ABIS)} were to be built")
        wrong += 1
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
