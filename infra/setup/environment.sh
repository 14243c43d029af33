# Sourced by the scripts behind `npm run …`: what a login shell would have set.
export HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d : -f 6)}
export PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}:/usr/sbin:/sbin
export KORORA_CACHE=${KORORA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/korora}
