/* Loaded before libc (LD_PRELOAD): writes down what the process does to the files of one directory, in order, so that
 * a test can lay out what a power cut at any moment might have left. Nothing is really synced: that is the test's part.
 *
 * A record: operation (W write, T truncate, S sync, U unlink), length of the name, offset or new size, length of the
 * data (native 64-bit integers), the name below the directory, the data.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *directory;
static int log_fd = -1;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("POWER_CUT_LOG");
    directory = getenv("POWER_CUT_DIRECTORY");
    if (directory && path)
        log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* The name below the directory, or NULL for all other files. */
static const char *watched(const char *path)
{
    size_t length;
    if (log_fd < 0)
        return NULL;
    length = strlen(directory);
    return strncmp(path, directory, length) == 0 && path[length] == '/' ? path + length + 1 : NULL;
}

static const char *watched_fd(int fd, char path[PATH_MAX])
{
    char link[64];
    ssize_t length;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return NULL;
    path[length] = 0;
    return watched(path);
}

static void record(char operation, const char *name, uint64_t offset, const void *data, uint64_t length)
{
    uint64_t numbers[4] = {(uint64_t)operation, strlen(name), offset, length};
    struct iovec parts[3] = {{numbers, sizeof numbers}, {(void *)name, strlen(name)}, {(void *)data, length}};
    if (writev(log_fd, parts, 3) != (ssize_t)(sizeof numbers + strlen(name) + length))
        abort();
}

static void record_fd(char operation, int fd, uint64_t offset, const void *data, uint64_t length)
{
    char path[PATH_MAX];
    const char *name = watched_fd(fd, path);
    if (name)
        record(operation, name, offset, data, length);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
    ssize_t written = syscall(SYS_pwrite64, fd, data, length, offset);
    if (written > 0)
        record_fd('W', fd, (uint64_t)offset, data, (uint64_t)written);
    return written;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite64(fd, data, length, offset); }

ssize_t write(int fd, const void *data, size_t length)
{
    off_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t written = syscall(SYS_write, fd, data, length);
    if (written > 0 && offset >= 0)
        record_fd('W', fd, (uint64_t)offset, data, (uint64_t)written);
    return written;
}

int ftruncate64(int fd, off64_t size)
{
    int result = (int)syscall(SYS_ftruncate, fd, size);
    if (result == 0)
        record_fd('T', fd, (uint64_t)size, "", 0);
    return result;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int fsync(int fd)
{
    record_fd('S', fd, 0, "", 0);
    return 0;
}

int fdatasync(int fd) { return fsync(fd); }

int unlink(const char *path)
{
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    const char *name = watched(path);
    if (result == 0 && name)
        record('U', name, 0, "", 0);
    return result;
}
