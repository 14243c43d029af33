#!/usr/bin/env bash
# npm run histories: records the histories that test/replay/replay.test.ts replays, by running every scenario.
# Do it when the workflow changed on purpose; keep the folders of versions that may still have moves running.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. infra/setup/environment.sh
bash infra/setup/setup.sh
node dist/infra/testbed/record-histories.js "$KORORA_CACHE/guest" "$(node infra/temporal/ensure-server.mjs)" test/replay/histories
