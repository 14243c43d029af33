#!/usr/bin/env bash
# npm test: sets this machine up, then types, lint, and every test on the real parts.
#
#   npm test                      everything
#   npm test -- unit              one project: unit or e2e
#   npm test -- e2e -t 'paused'   one project, with vitest's own arguments
#
# The last line is `N passed, N failed`; the exit code is 0 only if nothing failed.
set -uo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$project"
. infra/setup/environment.sh
bash infra/setup/setup.sh || exit 1
export KORORA_GUEST_DIR=$KORORA_CACHE/guest
KORORA_TEMPORAL_BINARY=$(node infra/temporal/ensure-server.mjs 2>/dev/null) || exit 1
export KORORA_TEMPORAL_BINARY

projects=(unit e2e)
if [ $# -gt 0 ]; then projects=("$1"); shift; fi
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
failed=0

if [ "${#projects[@]}" = 2 ]; then
  npm run --silent typecheck || { echo 'typecheck failed'; failed=1; }
  npm run --silent lint || { echo 'lint failed'; failed=1; }
fi
for name in "${projects[@]}"; do
  npx vitest run --project "$name" --reporter=default --reporter=json --outputFile.json="$results/$name.json" "$@" || failed=1
done
node test/support/count-results.mjs "$failed" "$results"/*.json
