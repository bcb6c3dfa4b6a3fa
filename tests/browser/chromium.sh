#!/bin/sh
# Make sure that Debian's Chromium and the fonts DejaVu and Noto are installed; install them if permitted.
set -eu
packages='chromium fonts-dejavu-core fonts-noto-core fonts-noto-cjk'
fonts=/usr/share/fonts
if command -v chromium >/dev/null && [ -e $fonts/truetype/dejavu/DejaVuSans-Bold.ttf ] \
    && [ -e $fonts/truetype/noto/NotoSansDevanagari-Bold.ttf ] && [ -e $fonts/opentype/noto/NotoSansCJK-Bold.ttc ]
then exit 0; fi
say() { echo "error: $1" >&2; exit 1; }
command -v apt-get >/dev/null || say 'the browser tests need Chromium on PATH, and apt-get is not available to install it'
if [ "$(id -u)" = 0 ]; then as=''; else as='sudo -n'; fi
[ -z "$as" ] || sudo -n true 2>/dev/null || say "the browser tests need Chromium; install it with: sudo apt-get install $packages"
echo "Installing $packages …" >&2
export DEBIAN_FRONTEND=noninteractive
install() { $as apt-get install -y -q --no-install-recommends $packages >&2; }
# The package lists might be missing or outdated.
install || { $as apt-get update -q >&2 && install; } || say "Chromium could not be installed; try: apt-get install $packages"
