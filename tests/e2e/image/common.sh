# shellcheck shell=bash
# What the tests of images share: small images in $IMAGES, and a publisher of them at $URL, which serves
# $SITE (see ../../fixtures/image).
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/../check.sh"

fixtures=$MP_SOURCE_DIR/tests/fixtures/image
PATH=$PATH:/usr/sbin:/sbin
need python3 sgdisk qemu-img debugfs

IMAGES=$PWD/images
SITE=$PWD/site
mkdir "$IMAGES" "$SITE"
"$fixtures/make.sh" "$IMAGES" >/dev/null 2>&1

# publish [DIR]: serves $SITE; sets $URL.
publish() {
  python3 "$fixtures/publisher.py" "$SITE" >publisher.port &
  wait_for_line publisher.port '^[0-9]+$'
  # shellcheck disable=SC2034 # for the tests
  URL=http://127.0.0.1:$(<publisher.port)
}

moonport() { "$MOONPORT" "$@"; }
images() { moonport image ls -o json | jq length; }
asked() { grep -c "GET /$1 " "$SITE/requests" || true; }
