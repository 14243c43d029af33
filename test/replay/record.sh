#!/usr/bin/env bash
# npm run histories: records what test/replay/*.test.ts replay, on real parts: every scenario, and what infra/testbed/histories/
# makes beside them, in about five minutes. It makes the folder of this version anew, and its row in builds.json;
# docs/decisions/0017-histories-and-builds.md says when that is right.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. infra/setup/environment.sh
bash infra/setup/setup.sh
node dist/infra/testbed/histories/main.js "$KORORA_CACHE/guest" "$(node infra/temporal/ensure-server.mjs)" test/replay
