#!/usr/bin/env bash
# npm run explore: compiles test/model and visits every order of events around the ownership rule (test/model/explore.ts).
#
#   npm run explore                          every exploration
#   npm run explore -- 'one move'            some of them
#   npm run explore -- --mistakes            plants the mistakes instead
#   npm run explore -- --mistakes NAME…      some of them
#
# Needs Node and the npm packages alone: no hypervisor, no TPM, no Temporal.
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$project"
[ -d node_modules ] || bash infra/setup/setup.sh node >&2
npx tsc -p test/model/tsconfig.json
exec node dist/model/test/model/explore.js "$@"
