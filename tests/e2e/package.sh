#!/bin/bash
# The Debian package installs into a clean Debian that holds nothing but its declared dependencies, and
# moonport works there.
set -euo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/check.sh"
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
  sources >sources.list
  [[ -s sources.list ]] || skip "apt knows no Debian packages here; try apt-get update"
  apt-config dump | grep -E '^Acquire::(http|https)' >apt.conf || true
  mmdebstrap --quiet --variant=apt --mode=root --aptopt="$PWD/apt.conf" \
    "$codename" "$base.$$.tar" "$PWD/sources.list"
  mv "$base.$$.tar" "$base"
fi
root=$PWD/root
mkdir "$root"
tar -C "$root" -xf "$base"

# inside COMMAND...: runs it in the clean Debian; its /proc is mounted for that command alone.
inside() {
  # shellcheck disable=SC2016 # for the inner shell
  unshare --mount sh -c 'root=$1; shift
    mount -t proc proc "$root/proc"
    exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C.UTF-8 \
      DEBIAN_FRONTEND=noninteractive "$@"' inside "$root" "$@"
}

it "is made from the build that people run"
(cd "$(dirname "$MOONPORT")/.." && cpack -G DEB -B "$OLDPWD/package" >"$OLDPWD/cpack.log") ||
  give_up "cpack:" "$(cat cpack.log)"
cp package/*.deb "$root/moonport.deb"

it "installs into a clean Debian with what it declares"
cp /etc/resolv.conf "$root/etc/resolv.conf"
inside apt-get -qq update
inside apt-get -qq install -y --no-install-recommends /moonport.deb >apt.log 2>&1 ||
  give_up "apt-get:" "$(cat apt.log)"

it "works there"
check_exit 0 inside moonport --version
check_equal "output" "$(inside moonport run -e 'print(6 * 7)')" 42

it "passes its own doctor there"
check_exit 0 inside moonport doctor -o json >doctor.json
check_matches doctor.json '"result": *"ok"'
for check in supervisor http state; do
  inside moonport doctor | grep -E "^$check +ok " >/dev/null ||
    check_failed "doctor's \`$check\`" "$(inside moonport doctor)"
done

it "brings its manual page, the unit for reboots, and completions that those shells accept"
for file in share/man/man1/moonport.1.gz share/bash-completion/completions/moonport \
  share/zsh/vendor-completions/_moonport share/fish/vendor_completions.d/moonport.fish; do
  [[ -s $root/usr/$file ]] || check_failed "/usr/$file is missing or empty"
done
check_matches "$root/usr/share/bash-completion/completions/moonport" 'complete .*moonport'
inside bash -n /usr/share/bash-completion/completions/moonport ||
  check_failed "bash does not accept its completion"
unit=$(find "$root/usr/lib/systemd" "$root/lib/systemd" -name moonport-restore.service | head -n1)
check_matches "$unit" '^ExecStart=/usr/bin/moonport restore$'

it "sweeps at boot and on a timer"
units=$(dirname "$unit")
check_matches "$units/moonport-gc.service" '^ExecStart=/usr/bin/moonport gc --older-than 24h$'
check_matches "$units/moonport-gc.timer" '^OnBootSec='
check_matches "$units/moonport-gc.timer" '^OnUnitInactiveSec='
check_matches "$units/moonport-watch.service" '^ExecStart=/usr/bin/moonport watch$'
for enabled in multi-user.target.wants/moonport-restore.service timers.target.wants/moonport-gc.timer; do
  [[ -L $root/etc/systemd/system/$enabled ]] || check_failed "$enabled is not enabled"
done

it "finds the libraries that it loads on first use, which no linker knows of"
mapfile -t loaded < <(grep -hoE '"lib[a-z0-9.+-]+\.so\.[0-9]+"' "$MP_SOURCE_DIR"/{core,lua}/*.c | tr -d '"')
check_matches <(printf '%s\n' "${loaded[@]}") '^libcurl\.so'
inside ldconfig -p >libraries
for library in "${loaded[@]}"; do
  check_matches libraries "^[[:space:]]*$library "
done

it "takes all its files along when it is removed"
inside apt-get -qq remove -y moonport >apt.log 2>&1 || give_up "apt-get:" "$(cat apt.log)"
check_equal "what is left" "$(find "$root/usr" -name '*moonport*' -not -path '*/share/doc/*')" ''

done_testing
