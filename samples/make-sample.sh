#!/bin/bash
# make-sample.sh: records samples/evidence anew. As root, after `make`.
#
# Runs the demonstration's programs (tests/demo.sh) in namespaces of their own
# (process, network, mount, control group, host name), so that the recording shows those
# programs and nothing of the machine it was made on, and keeps the first 128
# bytes of each packet, so that it is small.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || { echo "make-sample.sh: run it as root" >&2; exit 1; }

stage=/opt/pcapwho-sample
cleanup() { rm -rf "$stage"; }
trap cleanup EXIT
rm -rf "$stage"
mkdir -p "$stage/tests"
cp -r tests/demo tests/demo.sh "$stage/tests/"
make -s install DESTDIR="$stage" PREFIX=/usr
echo 00000000000000000000000000000001 >"$stage/machine-id"

# In there: loopback only, an empty /run/netns, and a /proc of its own.
PCAPWHO_DEMO_OPTIONS='--snaplen 128 --rotate-time 3s' \
PCAPWHO=$stage/usr/bin/pcapwho \
unshare --mount --pid --fork --net --uts --cgroup --mount-proc bash -euc '
	stage=$1
	hostname sample
	mount --bind "$stage/machine-id" /etc/machine-id
	mount -t tmpfs tmpfs /run
	ip link set lo up
	cd "$stage"
	exec bash tests/demo.sh
' sample "$stage"

rm -rf samples/evidence
cp -r "$stage/build/demo/evidence" samples/evidence
chmod 755 samples/evidence
chmod 644 samples/evidence/*
build/pcapwho analyze -q -o "$stage/sample.db" samples/evidence
build/pcapwho query "$stage/sample.db" top --format csv >samples/top.csv
du -sh samples/evidence
