#!/bin/bash
# The Debian package installs into a clean Debian that holds nothing but its declared dependencies, and
# moonport works there.
source "$MP_SOURCE_DIR/tests/e2e/lib.sh"
need cpack mmdebstrap dpkg-deb apt-get
((EUID == 0)) || skip "chroot needs root"
# shellcheck source=/dev/null
codename=$(. /etc/os-release && echo "${VERSION_CODENAME-}")

# A Debian like this machine's, from where this machine gets its packages, kept for the next run.
sources() {
  # shellcheck disable=SC2016 # the names are apt's
  apt-get indextargets --format '$(ORIGIN)|$(REPO_URI)|$(CODENAME)|$(COMPONENT)' \
    'Identifier: Packages' | sort -u |
    awk -F'|' '$1 == "Debian" { print "deb", $2, $3, $4 }'
}

base=$MP_TEST_CACHE/debian-$codename-$(dpkg --print-architecture)-$(sources | sha256sum | cut -c1-12).tar
if [[ ! -e $base ]]; then
  sources >"$SANDBOX/tmp/sources.list"
  [[ -s $SANDBOX/tmp/sources.list ]] || skip "apt knows no Debian packages here; try apt-get update"
  apt-config dump | grep -E '^Acquire::(http|https)' >"$SANDBOX/tmp/apt.conf" || true
  mmdebstrap --quiet --variant=apt --mode=root --aptopt="$SANDBOX/tmp/apt.conf" \
    "$codename" "$base.$$.tar" "$SANDBOX/tmp/sources.list"
  mv "$base.$$.tar" "$base"
fi
root=$SANDBOX/root
mkdir "$root"
tar -C "$root" -xf "$base"

(cd "$(dirname "$MOONPORT")/.." && cpack -G DEB -B "$SANDBOX/package" >"$SANDBOX/tmp/cpack.log") ||
  fail "cpack: $(cat "$SANDBOX/tmp/cpack.log")"
deb=$(echo "$SANDBOX"/package/*.deb)
cp "$deb" "$root/moonport.deb"

# inside COMMAND...: runs it in the clean Debian; its /proc is mounted for that command alone.
inside() {
  # shellcheck disable=SC2016 # for the inner shell
  unshare --mount sh -c 'root=$1; shift
    mount -t proc proc "$root/proc"
    exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C.UTF-8 \
      DEBIAN_FRONTEND=noninteractive "$@"' inside "$root" "$@"
}

cp /etc/resolv.conf "$root/etc/resolv.conf"
inside apt-get -qq update
inside apt-get -qq install -y --no-install-recommends /moonport.deb

inside moonport --version
[[ $(inside moonport run -e 'print(6 * 7)') == 42 ]] || fail "a script does not run in the clean root"

inside apt-get -qq remove -y moonport
left=$(find "$root/usr" -name '*moonport*' -not -path '*/share/doc/*')
[[ -z $left ]] || fail "removing the package left $left"
