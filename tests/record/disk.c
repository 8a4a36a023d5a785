/* A disk that stalls or fails: fdatasync(2) as the test says by files in $PGVEIL_TEST_DISK.
 *   stalls    each call waits until the file is gone
 *   fails     each call gives EIO
 *   calls     gets a byte for each call that is let through
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int there(const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s/%s", getenv("PGVEIL_TEST_DISK"), name);
    return access(path, F_OK) == 0;
}

int fdatasync(int fd)
{
    static int (*real)(int);
    char path[4096];
    int calls;

    if (!real)
        real = (int (*)(int)) dlsym(RTLD_NEXT, "fdatasync");
    while (there("stalls", path, sizeof path))
        usleep(1000);
    if (there("fails", path, sizeof path)) {
        errno = EIO;
        return -1;
    }
    there("calls", path, sizeof path);
    calls = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (calls >= 0) {
        if (write(calls, ".", 1) < 0)
            perror(path);
        close(calls);
    }
    return real(fd);
}
