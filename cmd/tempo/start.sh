#!/bin/sh
# Starts tempo, by the Node that `npm ci` brought, in the environment that it wants. main.ts sees to that too, by
# beginning again, which takes a tenth of a second.
here=$(dirname "$(readlink -f "$0")")
modules=$here/../../node_modules
if [ ! -d "$modules" ]; then
  echo 'tempo: its packages are missing: run "npm ci" first' >&2
  exit 1
fi
node=$modules/.bin/node
[ -x "$node" ] || node=node
if [ -z "$MALLOC_ARENA_MAX$MALLOC_MMAP_THRESHOLD_$MALLOC_TRIM_THRESHOLD_" ]; then
  export MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=4194304 MALLOC_TRIM_THRESHOLD_=4194304
fi
export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-$modules/.cache/tempo}"
exec "$node" --initial-old-space-size=128 "$here/main.ts" "$@"
