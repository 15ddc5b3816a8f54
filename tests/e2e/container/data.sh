#!/bin/bash
# The data of pods: gone with an empty directory, there again in a directory of the node, and in a claim that lives as
# long as the deployment, or longer where it is to be kept.
# shellcheck disable=SC2016 # backticks are text in what is matched
set -euo pipefail
# shellcheck source=tests/e2e/container/pods.sh
. "$(dirname "${BASH_SOURCE[0]}")/pods.sh"

chmod 755 .

# volume NAME: a volume of the class $SPACE, in a directory that the node sees too.
volume() {
  mkdir -p "volumes/$1"
  chmod 777 "volumes/$1"
  kubectl create -f - >/dev/null <<VOLUME
{ "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "$SPACE-$1" },
  "spec": { "storageClassName": "$SPACE", "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"],
    "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": "$PWD/volumes/$1" } } }
VOLUME
}

claims() { kubectl get persistentvolumeclaims -o name --ignore-not-found | sed 's|.*/||' | sort; }

# again NAME: deploys it once more, changed.
again() {
  echo "-- changed" >>"$1.lua"
  sed -i "s/AGAIN = '\([0-9]*\)'/AGAIN = '\1\1'/" "$1.lua"
  deploy "$1.lua"
}

write() { in_pod "$1" "echo $2 >/mnt/data/file && cat /mnt/data/file"; }
read_back() { in_pod "$1" 'cat /mnt/data/file 2>/dev/null || echo gone'; }

it "is empty with every pod, as large as it may be"
manifest empty "$IDLE env = { AGAIN = '1' }, limits = { storage = '64MiB' },"
deploy empty.lua
check_equal "what it wrote" "$(write empty x)" x
check_equal "limit" "$(pod empty .spec.volumes[0].emptyDir.sizeLimit)" 64Mi
again empty
check_equal "its data" "$(read_back empty)" gone

it "stays in a directory of the node"
mkdir -p host
chmod 777 host
manifest host "$IDLE env = { AGAIN = '1' }, data_dir = '$PWD/host'," "data = { kind = 'host' },"
deploy host.lua
check_equal "what it wrote" "$(write host x)" x
check_equal "on the node" "$(<host/file)" x
again host
check_equal "its data" "$(read_back host)" x
moonport rm --quiet host
check_equal "on the node" "$(<host/file)" x

claim="data = { kind = 'claim', size = '100MiB', storage_class = '$SPACE' },"
it "stays in a claim as long as the deployment is there"
volume 1
manifest claim "$IDLE env = { AGAIN = '1' }," "$claim"
deploy claim.lua
check_equal "claims" "$(claims)" "data-claim-$(store | cut -c-8)-0"
check_equal "what it wrote" "$(write claim x)" x
again claim
check_equal "its data" "$(read_back claim)" x
check_equal "claims" "$(claims)" "data-claim-$(store | cut -c-8)-0"

it "is that of the first replica when there are to be more"
volume 2
manifest claim "$IDLE env = { AGAIN = '1' }, restart = { policy = 'always' }," "replicas = 2, $claim"
deploy claim.lua
check_equal "pods" "$(pods claim | wc -l)" 2
check_equal "data of the first" "$(read_back claim)" x
check_equal "claims" "$(claims | paste -sd' ')" \
  "data-claim-$(store | cut -c-8)-0 data-claim-$(store | cut -c-8)-1"

it "goes with the deployment"
moonport rm --quiet claim
check_equal "claims" "$(claims)" ''

it "stays where it is to be kept, and is there for the next of that name"
volume 3
kept="${claim/storage_class/keep = true, storage_class}"
manifest kept "$IDLE env = { AGAIN = '1' }," "$kept"
deploy kept.lua
check_equal "what it wrote" "$(write kept x)" x
moonport rm --quiet kept
check_equal "claims" "$(claims)" "data-kept-$(store | cut -c-8)-0"
check_equal "gc" "$(moonport gc)" 'nothing to remove'
deploy kept.lua
check_equal "its data" "$(read_back kept)" x

it "refuses what cannot be, before anything is made"
manifest bad "$IDLE data_dir = '/srv/x',"
refused 1 'set `container.data.kind`' plan bad.lua
manifest bad "$IDLE" "replicas = 2, data = { kind = 'host', path = '/srv/x' },"
refused 1 'several replicas cannot share one directory' plan bad.lua

it "leaves nothing but what was to be kept"
moonport rm --quiet kept empty
check_equal "what is left on the cluster" "$(left_by_label)" "persistentvolumeclaim/data-kept-$(store | cut -c-8)-0"
check_equal "the namespace, which holds it" "$("$MP_CLUSTER" kubectl get namespace "$SPACE" -o name)" "namespace/$SPACE"

done_testing
