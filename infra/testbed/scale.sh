#!/usr/bin/env bash
# npm run scale: sets this machine up without the guest image, then moves many fake VMs at once (infra/testbed/scale.ts).
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$project"
. infra/setup/environment.sh
bash infra/setup/setup.sh packages node build temporal
exec node dist/infra/testbed/scale.js --temporal-binary "$(node infra/temporal/ensure-server.mjs 2>/dev/null)" "$@"
