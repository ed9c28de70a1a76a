// Stretches every fsync and fdatasync of a program, and every write that lasts by itself, to SLOW_SYNC_MS, to
// measure what a slower disk would cost.
// cc -shared -fPIC -O2 -o slow-sync.so test/bench/slow-sync.c -ldl
// SLOW_SYNC_MS=3 LD_PRELOAD=$PWD/slow-sync.so node cmd/tempo/main.ts ...
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <time.h>

typedef int (*sync_fn)(int);

static long long now_ns(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static long long end_ns(void) {
  const char *ms = getenv("SLOW_SYNC_MS");
  return now_ns() + (long long)(atof(ms == NULL ? "0" : ms) * 1e6);
}

static void wait_until(long long ends_ns) {
  long long rest_ns = ends_ns - now_ns();
  if (rest_ns <= 0) return;
  struct timespec rest = {rest_ns / 1000000000LL, rest_ns % 1000000000LL};
  nanosleep(&rest, NULL);
}

static int stretched(const char *name, int fd) {
  long long ends_ns = end_ns();
  int result = ((sync_fn)dlsym(RTLD_NEXT, name))(fd);
  wait_until(ends_ns);
  return result;
}

static int lasts(int fd) { return (fcntl(fd, F_GETFL) & O_DSYNC) != 0; }

int fsync(int fd) { return stretched("fsync", fd); }
int fdatasync(int fd) { return stretched("fdatasync", fd); }

typedef ssize_t (*write_fn)(int, const void *, size_t, off_t);
typedef ssize_t (*writev_fn)(int, const struct iovec *, int, off_t);

static ssize_t stretched_write(const char *name, int fd, const void *bytes, size_t size, off_t at) {
  long long ends_ns = end_ns();
  ssize_t result = ((write_fn)dlsym(RTLD_NEXT, name))(fd, bytes, size, at);
  if (lasts(fd)) wait_until(ends_ns);
  return result;
}

static ssize_t stretched_writev(const char *name, int fd, const struct iovec *parts, int count, off_t at) {
  long long ends_ns = end_ns();
  ssize_t result = ((writev_fn)dlsym(RTLD_NEXT, name))(fd, parts, count, at);
  if (lasts(fd)) wait_until(ends_ns);
  return result;
}

ssize_t pwrite(int fd, const void *b, size_t n, off_t at) { return stretched_write("pwrite", fd, b, n, at); }
ssize_t pwrite64(int fd, const void *b, size_t n, off_t at) { return stretched_write("pwrite64", fd, b, n, at); }
ssize_t pwritev(int fd, const struct iovec *p, int n, off_t at) { return stretched_writev("pwritev", fd, p, n, at); }
ssize_t pwritev64(int fd, const struct iovec *p, int n, off_t at) { return stretched_writev("pwritev64", fd, p, n, at); }
