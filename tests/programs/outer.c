/* A library that interposes dlsym, as frame capture and heap profilers do: it counts the calls
 * that pass it, and asks the next, which it finds by dlvsym. Built with -O2: the call of the next is
 * a jump, or RTLD_NEXT would mean something else, with us as without. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

static int asked;

void *dlsym(void *handle, const char *name)
{
    static void *(*next)(void *, const char *);
    if (!next)
        *(void **)&next = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    __atomic_fetch_add(&asked, 1, __ATOMIC_RELAXED);
    return next(handle, name);
}

static void __attribute__((destructor)) tell(void)
{
    printf("asked: %s\n", asked ? "yes" : "no");
    fflush(stdout);
}
