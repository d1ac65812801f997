/* A library that interposes PQfinish and dlsym's users know: it counts, and calls the next. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

static int finished;

void PQfinish(void *conn)
{
    static void (*next)(void *);
    finished++;
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "PQfinish");
    next(conn);
}

static void __attribute__((destructor)) tell(void)
{
    printf("wrapped: %d\n", finished);
    fflush(stdout);
}
