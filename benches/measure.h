/* What the programs of benches/ share. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static inline void need(int ok, const char *what) {
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static inline int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static inline int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static inline double median(int64_t *took, int count) {
    qsort(took, count, sizeof *took, ascending);
    return (double)took[count / 2];
}

/* A page that a child writes and its parent reads. */
static inline int64_t *shared(void) {
    int64_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    need(page != MAP_FAILED, "mmap");
    return page;
}
