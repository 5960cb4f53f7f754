"""Compress what Flet stores uncompressed in an APK, then align and sign it again.

    python tools/shrink_apk.py build/apk/*.apk

Flet ships Python's own modules and those of packages as zips without compression, since Python
cannot read others before it has loaded zlib, and keeps these zips uncompressed in the APK, too. On
the first start they are copied out of the APK whole, by Android's ``AssetManager.open``, which
takes compressed ones as well
(https://github.com/flet-dev/serious-python, ``extractAsset`` in ``AndroidPlugin.java``). So they
are compressed here: a smaller file to hand on, the same files on the device.

Needs the Android SDK's build tools (ANDROID_HOME). Signs with the key that `flet build` is given
by FLET_ANDROID_SIGNING_KEY_STORE, .._KEY_STORE_PASSWORD, .._KEY_ALIAS and .._KEY_PASSWORD, else
with the debug key that Gradle made.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path


def is_stored_zip(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry of the APK is one of Flet's zips, not compressed."""
    is_asset_zip = entry.filename.startswith("assets/") and entry.filename.endswith(".zip")
    return is_asset_zip and entry.compress_type == zipfile.ZIP_STORED


def is_signature(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is a signature of the old kind, over contents that are about to change."""
    folder, _, name = entry.filename.rpartition("/")
    return folder == "META-INF" and (
        name == "MANIFEST.MF" or name.endswith((".SF", ".RSA", ".EC", ".DSA"))
    )


def compress(source: Path, target: Path) -> int:
    """Write an APK with its stored zips compressed; all else is stored or compressed as before.

    Args:
        source: the APK.
        target: the new one: neither aligned nor signed.

    Returns:
        How many entries were compressed.

    Raises:
        ValueError: an APK of the other kind, with libraries that are mapped out of it.
    """
    n_compressed = 0
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        for entry in before.infolist():
            if entry.filename.endswith(".so") and entry.compress_type == zipfile.ZIP_STORED:
                raise ValueError(
                    f"{source}: {entry.filename} is not compressed: it is mapped from the APK and "
                    "must stay where it is. Build with legacy_packaging = true (pyproject.toml)"
                )
            if is_signature(entry):
                continue
            kept = zipfile.ZipInfo(entry.filename, entry.date_time)
            kept.external_attr = entry.external_attr
            kept.compress_type = entry.compress_type
            if is_stored_zip(entry):
                kept.compress_type = zipfile.ZIP_DEFLATED
                n_compressed += 1
            after.writestr(kept, before.read(entry), compresslevel=9)
    return n_compressed


def build_tool(name: str) -> str:
    """Return the path of a build tool, from the newest release that the SDK has.

    Raises:
        FileNotFoundError: there is none.
    """
    tools = Path(os.environ["ANDROID_HOME"], "build-tools")
    found = sorted(tools.glob(f"*/{name}"), key=lambda path: _numbers(path.parent.name))
    if not found:
        raise FileNotFoundError(f"{tools}: no {name}; sdkmanager 'build-tools;36.0.0' brings it")
    return str(found[-1])


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split("-", maxsplit=1)[0].split(".")]


def signing_options() -> list[str]:
    """Return the options that name the key to ``apksigner``; passwords stay in the environment.

    Raises:
        KeyError: a key store without a password.
    """
    prefix = "FLET_ANDROID_SIGNING_"
    store = os.environ.get(f"{prefix}KEY_STORE")
    if not store:
        debug = Path.home() / ".android/debug.keystore"
        return [
            "--ks",
            str(debug),
            "--ks-pass",
            "pass:android",
            "--ks-key-alias",
            "androiddebugkey",
        ]
    given = [name for name in ("KEY_STORE_PASSWORD", "KEY_PASSWORD") if prefix + name in os.environ]
    if not given:
        raise KeyError(f"{prefix}KEY_STORE is set: set {prefix}KEY_STORE_PASSWORD, too")
    options = ["--ks", store, "--ks-pass", f"env:{prefix}{given[0]}"]
    options += ["--key-pass", f"env:{prefix}{given[-1]}"]  # as flet: one stands for both
    return [*options, "--ks-key-alias", os.environ.get(f"{prefix}KEY_ALIAS", "upload")]


def shrink(apk: Path) -> None:
    """Compress, align and sign an APK in its place; a failure leaves it as it was."""
    before = apk.stat().st_size
    with tempfile.TemporaryDirectory(dir=apk.parent) as folder:
        loose, aligned = Path(folder, "loose.apk"), Path(folder, "aligned.apk")
        n_compressed = compress(apk, loose)
        subprocess.run([build_tool("zipalign"), "4", loose, aligned], check=True)
        subprocess.run([build_tool("apksigner"), "sign", *signing_options(), aligned], check=True)
        aligned.replace(apk)
    after = apk.stat().st_size
    print(f"{apk.name}: {n_compressed} compressed, {before / 1e6:.1f} -> {after / 1e6:.1f} MB")


def main(paths: list[str]) -> int:
    """Shrink each APK that is named."""
    for path in paths:
        shrink(Path(path))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
