#!/usr/bin/env bash
# Sets this machine up (infra/setup/setup.sh), then runs a program of this folder with the guest and the Temporal server:
#   on-this-machine.sh faults/matrix|attacks/main [arguments]
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$project"
. infra/setup/environment.sh
bash infra/setup/setup.sh >&2
program=$1
shift
exec node "dist/infra/testbed/$program.js" --guest-dir "$KORORA_CACHE/guest" --temporal-binary "$(node infra/temporal/ensure-server.mjs)" "$@"
