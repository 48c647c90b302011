#!/bin/sh
# Installs hazlink from this folder without any network. 离线安装，无需联网。
#   sh install.sh            program into /opt/hazlink, data into /var/lib/hazlink, a systemd unit
#   sh install.sh DIR        program into DIR only: no user, no unit (a trial on one machine)
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
target=${1:-/opt/hazlink}

python=
for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
  if command -v "$candidate" >/dev/null 2>&1 &&
     "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$(cat "$here/PYTHON")')"; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "this bundle was made for Python $(cat "$here/PYTHON"), which is not installed" >&2
  echo "本安装包适用于 Python $(cat "$here/PYTHON")，本机未安装" >&2
  exit 1
fi
(cd "$here" && sha256sum --quiet -c SHA256SUMS) || { echo "the bundle is damaged / 安装包已损坏" >&2; exit 1; }

"$python" -m venv "$target"
"$target/bin/python" -m pip install --quiet --disable-pip-version-check --no-index \
  --find-links "$here/wheels" --require-hashes -r "$here/requirements.txt"
"$target/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps "$here"/hazlink-*.whl
mkdir -p "$target/share" && cp "$here"/README*.md "$target/share/"
"$target/bin/hazlink" --version

[ "$#" -gt 0 ] && exit 0
id hazlink >/dev/null 2>&1 || useradd --system --home-dir /var/lib/hazlink --shell /usr/sbin/nologin hazlink
install -d -m 0700 -o hazlink -g hazlink /var/lib/hazlink
install -d -m 0755 /etc/hazlink
[ -e /etc/hazlink/passphrase ] || (umask 077; head -c 32 /dev/urandom | base64 >/etc/hazlink/passphrase)
# the service is handed it by systemd; the command line, run as user hazlink, reads it itself
chown root:hazlink /etc/hazlink/passphrase
chmod 0640 /etc/hazlink/passphrase
install -m 0644 "$here/hazlink.service" /etc/systemd/system/hazlink.service
systemctl daemon-reload
echo "next: hazlink init, hazlink join, then: systemctl enable --now hazlink  (see README)"
echo "下一步：hazlink init、hazlink join，然后执行 systemctl enable --now hazlink（见 README）"
