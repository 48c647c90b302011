#!/bin/sh
# Makes dist/hazlink-<version>-<platform>-py<version>.tar.gz: every wheel, the program, the unit, an installer.
#   sh packaging/bundle.sh PYTHON DIST
set -eu
python=$1
dist=$2
version=$("$python" -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')
pyver=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
platform=$("$python" -c 'import platform; print(platform.system().lower() + "-" + platform.machine())')
name="hazlink-$version-$platform-py$pyver"
out="$dist/$name"

rm -rf "$out"
mkdir -p "$out/wheels"
"$python" -m pip download --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
  -r requirements.txt -d "$out/wheels"
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w "$out" .
cp requirements.txt packaging/install.sh packaging/hazlink.service README.md README.zh-CN.md "$out/"
echo "$pyver" >"$out/PYTHON"
(cd "$out" && find . -type f ! -name SHA256SUMS | LC_ALL=C sort | xargs sha256sum >SHA256SUMS)
tar -C "$dist" --sort=name --owner=0 --group=0 --numeric-owner -czf "$dist/$name.tar.gz" "$name"
echo "$dist/$name.tar.gz"
