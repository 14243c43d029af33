#!/usr/bin/env bash
# npm run attack: sets this machine up (infra/setup/setup.sh), then attacks the channel in every way (infra/testbed/attacks/main.ts).
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
cd "$project"
. infra/setup/environment.sh
bash infra/setup/setup.sh >&2
exec node dist/infra/testbed/attacks/main.js --guest-dir "$KORORA_CACHE/guest" --temporal-binary "$(node infra/temporal/ensure-server.mjs)" "$@"
