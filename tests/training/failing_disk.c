/* Makes writes under one folder fail from the N-th on: LD_PRELOAD with FAULT_FOLDER, FAULT_ERRNO, FAULT_AFTER. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static long count;

static int fails(const char *path) {
  const char *folder = getenv("FAULT_FOLDER");
  if (!folder || !path || strncmp(path, folder, strlen(folder))) return 0;
  if (__atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST) <= atol(getenv("FAULT_AFTER"))) return 0;
  errno = atoi(getenv("FAULT_ERRNO"));
  return 1;
}

static int fd_fails(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = 0;
  return fails(path);
}

#define NEXT(name) static __typeof__(name) *next; if (!next) next = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t n) { NEXT(write); return fd_fails(fd) ? -1 : next(fd, data, n); }
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { NEXT(pwrite); return fd_fails(fd) ? -1 : next(fd, data, n, at); }
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) { NEXT(pwrite64); return fd_fails(fd) ? -1 : next(fd, data, n, at); }
ssize_t writev(int fd, const struct iovec *parts, int n) { NEXT(writev); return fd_fails(fd) ? -1 : next(fd, parts, n); }
int fsync(int fd) { NEXT(fsync); return fd_fails(fd) ? -1 : next(fd); }
int mkdir(const char *path, mode_t mode) { NEXT(mkdir); return fails(path) ? -1 : next(path, mode); }
int rename(const char *from, const char *to) { NEXT(rename); return fails(to) ? -1 : next(from, to); }
int ftruncate(int fd, off_t size) { NEXT(ftruncate); return fd_fails(fd) ? -1 : next(fd, size); }
int ftruncate64(int fd, off64_t size) { NEXT(ftruncate64); return fd_fails(fd) ? -1 : next(fd, size); }

static int opens(const char *path, int flags) { return (flags & (O_WRONLY | O_RDWR | O_CREAT)) && fails(path); }
#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    NEXT(name); va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    return opens(path, flags) ? -1 : next(path, flags, mode); }
OPEN(open)
OPEN(open64)
