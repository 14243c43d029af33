#!/usr/bin/env bash
# Makes a bare Debian 12 (git, Node 20, npm) able to run everything in this repository. Run it as often as you like: what
# is there already is left alone, and a run that finds nothing to do takes about a second.
#
#   bash infra/setup/setup.sh                 all stages
#   bash infra/setup/setup.sh STAGE…          only these: packages node build guest temporal
#
#   packages   Debian packages: QEMU, swtpm, tpm2-tools and what the guest image needs   (root, or sudo)
#   node       npm ci, when package-lock.json is not the one installed
#   build      npm run build, when a source is newer than the last build
#   guest      the guest image, into $KORORA_CACHE/guest
#   temporal   a Temporal server binary, into $KORORA_CACHE/temporal; fetched or built beside the other stages
#
# KORORA_CACHE is $XDG_CACHE_HOME/korora or ~/.cache/korora unless set. Noisy commands write to $KORORA_CACHE/setup.log,
# whose part is shown when one fails.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$project/infra/setup/environment.sh"
mkdir -p "$KORORA_CACHE"
logs=$(mktemp -d)
temporalJob=

packages=(
  qemu-system-x86        # the hypervisor
  swtpm swtpm-tools      # virtual TPMs, and their manufacture with EK certificates
  tpm2-tools             # TPM commands, on hosts and in the guest
  libtss2-tcti-swtpm0    # … to a software TPM over TCP, which stands in for the host's TPM
  libtss2-tcti-device0   # … to /dev/tpmrm0
  busybox-static cpio    # the guest's userland and its initramfs
  openssl                # certificates for the testbed
  iproute2 procps mount  # ss, ps; mounts of a worker's own, in tests
  ca-certificates
)

say() { echo "[setup] $*"; }

# step NAME COMMAND…: runs it with its output in a log; one line when it is done, the log's end when it failed.
step() {
  local name=$1 startedAt=$SECONDS log
  log=$logs/$(tr -c 'a-z0-9\n' - <<<"$name")
  shift
  local status=0
  "$@" >"$log" 2>&1 </dev/null || status=$?
  { echo "== $name"; cat "$log"; } >>"$KORORA_CACHE/setup.log"
  if [ "$status" != 0 ]; then
    say "$name failed after $((SECONDS - startedAt)) s (all of it in $KORORA_CACHE/setup.log):"
    tail -n 30 "$log" | sed 's/^/    /'
    exit 1
  fi
  say "$name … $((SECONDS - startedAt)) s"
}

# Nothing that was started may outlive the setup.
cleanUp() {
  if [ -n "$temporalJob" ]; then kill "$temporalJob" 2>/dev/null || true; fi
  rm -rf "$logs"
}
trap cleanUp EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

asRoot() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -E "$@"
  else
    echo "needs root: run this as root, install sudo, or install these yourself: ${missing[*]}"
    return 1
  fi
}

# --- stages -----------------------------------------------------------------------------------------------------------

# The packages that are not installed, one a line.
missingPackages() {
  local installed package
  # For a package it never heard of, dpkg-query says so and fails; the others are listed all the same.
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null || true)
  for package in "${packages[@]}"; do
    [[ $'\n'$installed$'\n' == *$'\n'"installed $package"$'\n'* ]] || echo "$package"
  done
}

installPackages() {
  local attempt
  for attempt in 1 2; do
    # The lists may be missing or too old for what the archive holds by now.
    if [ "$attempt" = 2 ] || ! apt-cache show "${missing[@]}" >/dev/null 2>&1; then
      asRoot apt-get update || true
    fi
    asRoot apt-get install -y --no-install-recommends "${missing[@]}" && return 0
    sleep 2
  done
  return 1
}

stagePackages() {
  command -v apt-get >/dev/null || { say 'needs Debian 12 (no apt-get here)'; exit 1; }
  read -r -d '' -a missing <<<"$(missingPackages)" || true
  if [ "${#missing[@]}" = 0 ]; then
    say 'debian packages: all there'
  else
    say "debian packages to install: ${missing[*]}"
    step 'debian packages' installPackages
  fi
}

stageNode() {
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
    { say "needs Node 20.19 or newer, here is $(node --version)"; exit 1; }
  local wanted stamp=$project/node_modules/.korora-lockfile
  wanted=$(digest "$project/package-lock.json")
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    say 'node packages: up to date'
    return
  fi
  step 'node packages' npm ci --prefix "$project" --no-progress --include=dev
  echo "$wanted" >"$stamp"
}

stageBuild() {
  local wanted stamp=$project/dist/.korora-sources
  # Every file tsc or finish-build may read, by content.
  wanted=$(cd "$project" && find . \( -name node_modules -o -name dist -o -name .git -o -name test \) -prune -o \
    -type f \( -name '*.ts' -o -name '*.mts' -o -name '*.mjs' -o -name '*.cjs' -o -name 'tsconfig*.json' -o -name 'package*.json' \) -print0 |
    sort -z | xargs -0 sha256sum | digest)
  if [ -e "$project/dist/cli/main.js" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    say 'build: up to date'
    return
  fi
  # Leftovers of sources that are gone would still be importable.
  rm -rf "$project/dist"
  step 'build' npm run --prefix "$project" build
  echo "$wanted" >"$stamp"
}

stageGuest() {
  # apt must know a kernel to download; the stage of the packages may have had no reason to update its lists.
  if [ ! -s "$KORORA_CACHE/guest/stamp" ] && ! apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1; then
    step 'debian package lists' asRoot apt-get update
  fi
  step 'guest image' bash "$project/infra/guest/build.sh" "$KORORA_CACHE/guest"
}

startTemporal() {
  node "$project/infra/temporal/ensure-server.mjs" >"$logs/temporal.path" 2>"$logs/temporal.log" </dev/null &
  temporalJob=$!
}

finishTemporal() {
  local startedAt=$SECONDS shown=0 status=0
  # Its progress lines, as they come; a build takes minutes.
  while kill -0 "$temporalJob" 2>/dev/null; do
    if [ $((SECONDS - startedAt)) -ge 2 ]; then showTemporalLog; fi
    sleep 0.2
  done
  wait "$temporalJob" || status=$?
  temporalJob=
  { echo '== temporal server'; cat "$logs/temporal.log"; } >>"$KORORA_CACHE/setup.log"
  if [ "$status" != 0 ]; then
    say 'temporal server failed:'
    grep -v '^\[temporal\]' "$logs/temporal.log" | sed 's/^/    /'
    exit 1
  fi
  say "temporal server: $(cat "$logs/temporal.path")"
}

showTemporalLog() {
  local lines
  lines=$(wc -l <"$logs/temporal.log")
  [ "$lines" -gt "$shown" ] || return 0
  sed -n "$((shown + 1)),${lines}p" "$logs/temporal.log" | sed 's/^\[temporal\]/[setup] temporal server:/'
  shown=$lines
}

digest() { sha256sum "$@" | cut -d ' ' -f 1; }

# --- run --------------------------------------------------------------------------------------------------------------
stages=("$@")
[ $# -gt 0 ] || stages=(packages node build guest temporal)
for stage in "${stages[@]}"; do
  case $stage in packages | node | build | guest | temporal) ;; *) sed -n '2,17s/^# \{0,1\}//p' "$0" >&2; exit 2 ;; esac
done
wants() { [[ " ${stages[*]} " == *" $1 "* ]]; }

: >"$KORORA_CACHE/setup.log"
if wants temporal; then startTemporal; fi
if wants packages; then stagePackages; fi
if wants node; then stageNode; fi
if wants build; then stageBuild; fi
if wants guest; then stageGuest; fi
if wants temporal; then finishTemporal; fi
say "ready after $SECONDS s"
