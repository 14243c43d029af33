#!/usr/bin/env bash
# npm run check: types, lint and the pure unit tests, side by side. Needs Node and the npm packages alone: no hypervisor, no
# TPM, no Temporal.
#
#   npm run check               all of it once
#   npm run check -- --watch    the unit tests that a change concerns, at every change; neither types nor lint
#
# The time that each part took stands beside it; a part that fails shows what it said. Results of the unit tests, as JSON, go to
# $KORORA_RESULTS/unit.json where that is set.
set -uo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$project"
[ -d node_modules ] || bash infra/setup/setup.sh node || exit 1
if [ "${1:-}" = --watch ]; then exec npx vitest watch --project unit; fi
[ $# = 0 ] || { sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

# What tsc and eslint know from the last time; by content, so that a fresh clone only takes longer.
cache=node_modules/.cache/korora
mkdir -p "$cache"
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# part NAME COMMAND…
part() {
  local name=$1 startedAt=$SECONDS status=0
  shift
  "$@" >"$logs/$name" 2>&1 </dev/null || status=$?
  if [ "$status" = 0 ]; then
    echo "[check] $name … $((SECONDS - startedAt)) s"
  else
    echo "[check] $name failed after $((SECONDS - startedAt)) s:"
    cat "$logs/$name"
  fi
  return "$status"
}

json=()
[ -z "${KORORA_RESULTS:-}" ] || json=(--reporter=json --outputFile.json="$KORORA_RESULTS/unit.json")
part types npx tsc -p tsconfig.test.json --noEmit --incremental --tsBuildInfoFile "$cache/types.json" & types=$!
part lint npx eslint --cache --cache-strategy content --cache-location "$cache/lint.json" . & lint=$!
part unit npx vitest run --project unit --reporter=default "${json[@]}" & unit=$!
failed=0
for job in "$types" "$lint" "$unit"; do wait "$job" || failed=1; done
exit "$failed"
