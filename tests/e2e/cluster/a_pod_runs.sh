#!/bin/bash
# The node runs pods: with images of our own, as an ordinary user, under the handler that was asked for,
# and with a network.
set -euo pipefail
# shellcheck source=tests/e2e/check.sh
. "$(dirname "${BASH_SOURCE[0]}")/../check.sh"

space=a-pod-runs-$$
kubectl() { "$MP_CLUSTER" kubectl --namespace "$space" "$@"; }
# In the background; it is the job itself, which ends with the test.
follow() { exec "$MP_CLUSTER" kubectl --namespace "$space" get --watch "$@" 2>/dev/null; }

# A namespace that still has pods takes some 15 s more.
# shellcheck disable=SC2317 # the trap calls it
remove() {
  kubectl delete pods --all >/dev/null
  kubectl delete namespace "$space" --ignore-not-found >/dev/null
  kubectl delete runtimeclass -l "made-by=$space" >/dev/null 2>&1
}
trap 'remove; mp_end_jobs' EXIT

kubectl create namespace "$space" >/dev/null
# A pod cannot be made before its account is there.
follow serviceaccount -o name >accounts &
wait_for_line accounts serviceaccount/default 30

# pod NAME HANDLER COMMAND [IMAGE]: the class of a handler has the test's name, so that none meets another's.
pod() {
  cat <<MANIFEST
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: { name: "$space-$2", labels: { made-by: "$space" } }
handler: $2
---
apiVersion: v1
kind: Pod
metadata: { name: "$1", labels: { app: "$1" } }
spec:
  runtimeClassName: "$space-$2"
  terminationGracePeriodSeconds: 1
  restartPolicy: Never
  securityContext: { runAsUser: 1000, runAsNonRoot: true, fsGroup: 1000, seccompProfile: { type: RuntimeDefault } }
  containers:
  - name: main
    image: ${4-moonport-test/base:1}
    command: [sh, -c, "$3"]
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] } }
    resources: { limits: { memory: 64Mi, cpu: 500m } }
MANIFEST
}

it "runs a pod under each handler, each as that handler's own"
for handler in runc crun kata-standin; do
  pod "$handler" "$handler" "id -u; echo up; exec httpd -f -p 8080 -h /etc" | kubectl apply -f - >/dev/null
done
kubectl wait --for=condition=Ready pod/runc pod/crun pod/kata-standin --timeout=60s >/dev/null
for handler in runc crun kata-standin; do
  kubectl logs "$handler" >said
  check_equal "what $handler's pod said" "$(paste -sd" " said)" "1000 up"
  check_equal "who runs it" "$("$MP_CLUSTER" handler "$space" "$handler")" "$handler"
done

it "does what is asked for in a running pod"
check_equal "exec" "$(kubectl exec -i runc -- sh -c 'cat; echo done' <<<in)" $'in\ndone'

it "reaches pods and services, from pods and from the machine"
kubectl expose pod crun --port 80 --target-port 8080 >/dev/null
follow endpoints crun -o 'jsonpath={.subsets[0].addresses[0].ip}{"\n"}' >addresses &
wait_for_line addresses '^[0-9]' 30
service=$(kubectl get service crun -o 'jsonpath={.spec.clusterIP}')
pod_ip=$(kubectl get pod crun -o 'jsonpath={.status.podIP}')
# The node's rules for the service come a moment after the endpoints; a connection before is refused.
curl --silent --fail --retry 50 --retry-connrefused --retry-delay 0 --retry-max-time 20 "http://$service/passwd" >passwd
check_matches passwd ^app:
curl --silent --fail "http://$pod_ip:8080/passwd" >passwd
check_matches passwd ^app:
kubectl exec runc -- timeout 20 wget -qO- "http://$service/passwd" >passwd
check_matches passwd ^app:

it "reaches the machine from a pod, at the address from which the machine speaks to the API server"
server=$(kubectl config view -o 'jsonpath={.clusters[0].cluster.server}')
server=${server#https://}
machine=$(ip -4 route get "${server%:*}" | sed -n 's/.* src \([^ ]*\).*/\1/p')
port=$((20000 + $$ % 10000))
mkdir www
echo from the machine >www/index.html
"$MP_TEST_CACHE/cluster-busybox/busybox" httpd -f -p "$machine:$port" -h www &
curl --silent --fail --retry 50 --retry-connrefused --retry-max-time 20 --output /dev/null "http://$machine:$port/"
check_equal "answer" "$(kubectl exec runc -- timeout 20 wget -qO- "http://$machine:$port/")" "from the machine"

it "runs an image that was loaded, with its entrypoint, environment and user"
mkdir -p root/bin
kubectl exec runc -- cat /bin/busybox >root/bin/busybox
chmod 755 root/bin/*
cat >root/bin/say <<'SCRIPT'
#!/bin/busybox sh
echo "$WORD as $(/bin/busybox id -u) with $*"
SCRIPT
chmod 755 root/bin/say
tar -C root -cf root.tar .
"$MP_CLUSTER" load "$space/say:1" root.tar --entrypoint /bin/say --entrypoint one --cmd two --env WORD=hello --user 1234
kubectl run say --image "$space/say:1" --restart Never >/dev/null
follow pod say -o 'jsonpath={.status.phase}{"\n"}' >phases &
wait_for_line phases Succeeded 60
check_equal "logs" "$(kubectl logs say)" "hello as 1234 with one two"

done_testing
