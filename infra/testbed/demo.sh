#!/usr/bin/env bash
# npm run demo: sets this machine up (infra/setup/setup.sh), then shows a scenario (infra/testbed/demo.ts).
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$project"
. infra/setup/environment.sh
bash infra/setup/setup.sh
exec node dist/infra/testbed/demo.js --guest-dir "$KORORA_CACHE/guest" --temporal-binary "$(node infra/temporal/ensure-server.mjs 2>/dev/null)" "$@"
