#!/bin/sh
# Starts tempo, by the Node that `npm ci` brought, in the environment that it wants. main.ts sees to that too, by
# beginning again, which takes a tenth of a second.
here=${0%/*}
modules=$here/../../node_modules
export MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=4194304 MALLOC_TRIM_THRESHOLD_=4194304
export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-$modules/.cache/tempo}"
exec "$modules/.bin/node" --initial-old-space-size=128 "$here/main.ts" "$@"
