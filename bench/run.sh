#!/usr/bin/env bash
# npm run bench: sets this machine up (infra/setup/setup.sh), then measures and prints one report (bench/main.ts).
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$project"
. infra/setup/environment.sh
bash infra/setup/setup.sh >&2
exec node dist/bench/main.js --guest-dir "$KORORA_CACHE/guest" --temporal-binary "$(node infra/temporal/ensure-server.mjs)" "$@"
