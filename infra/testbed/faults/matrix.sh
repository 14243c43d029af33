#!/usr/bin/env bash
# npm run matrix: sets this machine up (infra/setup/setup.sh), then runs the fault matrix (infra/testbed/faults/matrix.ts).
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
cd "$project"
. infra/setup/environment.sh
bash infra/setup/setup.sh >&2
exec node dist/infra/testbed/faults/matrix.js --guest-dir "$KORORA_CACHE/guest" --temporal-binary "$(node infra/temporal/ensure-server.mjs)" "$@"
