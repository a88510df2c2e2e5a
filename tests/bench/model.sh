#!/bin/bash
# model.sh [-n HISTORIES] [-s SEED]: random histories of a host through the whole
# analyzer, each packet held against the truth (tests/model/README.md): 10,000 of
# them. Not a measurement: it says what share of the owners is found, and that none
# is wrong.
set -uo pipefail

ROOT=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)
exec "${BUILD:-$ROOT/build/release}/tests/model/model" -n 10000 "$@"
