#!/usr/bin/env bash
# npm test: sets this machine up, then what must hold at every commit, and this commit's share of the long suites (test/plan.mjs).
#
#   npm test                         check, parts, workflows, and of the end-to-end tests those of every commit and of the share
#   npm test -- --share 5            the same, with that share of 16 (--seed N: with the same deaths of the orchestrator)
#   npm test -- shared abort         one project (unit, parts, workflows, e2e, shared), whole, with vitest's own arguments
#   npm run test:full                every share, then the whole fault matrix with the product's own limits, recorded, and the attacks
#
# The last line is `N passed, N failed`; the exit code is 0 only if nothing failed.
set -uo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$project"
usage() { sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

share=commit seed='' full='' project=''
while [ $# -gt 0 ]; do
  case $1 in
    --full) full=yes share=all; shift ;;
    --share) [[ ${2:-} =~ ^[0-9]+$ ]] || usage; share=$2; shift 2 ;;
    --seed) [[ ${2:-} =~ ^[0-9]+$ ]] || usage; seed=$2; shift 2 ;;
    unit | parts | workflows | e2e | shared) project=$1 share=all; shift; break ;;
    *) usage ;;
  esac
done

. infra/setup/environment.sh
times=$(mktemp)
results=$(mktemp -d)
trap 'rm -rf "$times" "$results"' EXIT
export KORORA_RESULTS=$results
failed=0

# timed WHAT COMMAND…
timed() {
  local what=$1 startedAt=$SECONDS status=0
  shift
  "$@" || status=$?
  printf '%6s s  %s\n' $((SECONDS - startedAt)) "$what" >>"$times"
  return "$status"
}
vitestRun() { npx vitest run "$@" --reporter=default --reporter=json --outputFile.json="$results/$RANDOM.json"; }

timed set-up bash infra/setup/setup.sh || exit 1
export KORORA_GUEST_DIR=$KORORA_CACHE/guest
KORORA_TEMPORAL_BINARY=$(node infra/temporal/ensure-server.mjs 2>/dev/null) || exit 1
export KORORA_TEMPORAL_BINARY

if [ -n "$project" ]; then
  export KORORA_SHARE=all
  vitestRun --project "$project" "$@" || failed=1
  node test/support/count-results.mjs "$failed" "$results"/*.json
  exit
fi

commit=$(git rev-parse HEAD 2>/dev/null) || commit=$(printf '0%.0s' {1..40})
chosen='as asked for'
if [ "$share" = commit ]; then share=$(node test/plan.mjs share "$commit") chosen="by the hash of ${commit:0:10}"; fi
export KORORA_SHARE=$share KORORA_SEED=${seed:-$((16#${commit:8:6}))}
again="npm test -- --share $share --seed $KORORA_SEED"
if [ -z "$full" ]; then echo "share $share of the long suites, $chosen; the same again: $again"; fi

timed check bash test/check.sh || failed=1
timed mutants node test/mutants/run.mjs --changed --within 60 || failed=1
# The whole matrix has these cells with the product's own limits.
other=()
[ -z "$full" ] || other=(--exclude test/e2e/cells-qemu.test.ts)
timed 'parts, workflows, end to end' vitestRun --project parts --project workflows --project e2e --project shared "${other[@]}" || failed=1
if [ -n "$full" ]; then
  timed 'fault matrix' bash infra/testbed/on-this-machine.sh faults/matrix --record || failed=1
  timed attacks bash infra/testbed/on-this-machine.sh attacks/main || failed=1
fi

echo
echo 'time of each part:'
cat "$times"
node test/support/time-by-file.mjs "$results"/*.json
node dist/infra/testbed/faults/age.js
[ -n "$full" ] || echo "share $share of the long suites was run; the same again: $again"
node test/support/count-results.mjs "$failed" "$results"/*.json
