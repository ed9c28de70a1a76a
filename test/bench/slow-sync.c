// Stretches every fsync and fdatasync of a program to SLOW_SYNC_MS, to measure what a slower disk would cost.
// cc -shared -fPIC -O2 -o slow-sync.so test/bench/slow-sync.c -ldl
// SLOW_SYNC_MS=3 LD_PRELOAD=$PWD/slow-sync.so node cmd/tempo/main.ts ...
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

typedef int (*sync_fn)(int);

static long long now_ns(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static int stretched(const char *name, int fd) {
  const char *ms = getenv("SLOW_SYNC_MS");
  long long ends_ns = now_ns() + (long long)(atof(ms == NULL ? "0" : ms) * 1e6);
  int result = ((sync_fn)dlsym(RTLD_NEXT, name))(fd);
  long long rest_ns = ends_ns - now_ns();
  if (rest_ns > 0) {
    struct timespec rest = {rest_ns / 1000000000LL, rest_ns % 1000000000LL};
    nanosleep(&rest, NULL);
  }
  return result;
}

int fsync(int fd) { return stretched("fsync", fd); }
int fdatasync(int fd) { return stretched("fdatasync", fd); }
