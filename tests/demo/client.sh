#!/bin/bash
# The programs whose traffic the demo records, all at the same time. Arguments:
#   web=HOST:PORT    curl downloads a file
#   udp=HOST:PORT    dig asks a resolver that takes its time, over UDP
#   tcp=HOST:PORT    dig asks over one TCP connection
# An IPv6 HOST stands in brackets.
set -u

host() {
	local name=${1%:*}
	name=${name#[}
	echo "${name%]}"
}

names() {
	local i
	for ((i = 1; i <= $1; i++)); do
		echo "host$i.demo.test"
		sleep "$2"
	done
}

for target; do
	where=${target#*=}
	case $target in
	web=*)
		curl -sS -g -o /dev/null "http://$where/download" &
		;;
	udp=*)
		names 8 0 | dig "@$(host "$where")" -p "${where##*:}" -f - +short +tries=1 \
			+timeout=2 >/dev/null &
		;;
	tcp=*)
		names 8 0.4 | dig "@$(host "$where")" -p "${where##*:}" -f - +short +tcp \
			+keepopen +tries=1 +timeout=2 >/dev/null &
		;;
	esac
done
wait
