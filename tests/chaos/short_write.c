/* A preloaded write(2) that takes only half of what it is given, into regular files and after the first calls.

   strace -e inject=write:retval= does not make the call at all, so bytes would be missing for ever; and a file system
   that is full takes a part only once. POSIX and write(2) permit a short write at any time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

ssize_t write(int fd, const void *data, size_t size)
{
    static ssize_t (*next)(int, const void *, size_t);
    static int calls;
    struct stat about;
    if (!next)
        next = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (size > 1 && fstat(fd, &about) == 0 && S_ISREG(about.st_mode)) {
        const char *after = getenv("SHORT_WRITE_AFTER");
        if (calls++ >= (after ? atoi(after) : 0))
            size = size / 2;
    }
    return next(fd, data, size);
}
