/*
 * allocations CONNINFO: counts malloc and its kin between this program's last
 * prepare handler and its first child handler. libforkguard's prepare handler
 * runs after the one and its child handler before the other (pthread_atfork(3)).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static volatile int watching, allocations;

static void *count(void *memory) {
    allocations += watching;
    return memory;
}
void *malloc(size_t size) { return count(__libc_malloc(size)); }
void *calloc(size_t number, size_t size) { return count(__libc_calloc(number, size)); }
void *realloc(void *old, size_t size) { return count(__libc_realloc(old, size)); }
void *memalign(size_t align, size_t size) { return count(__libc_memalign(align, size)); }
void *aligned_alloc(size_t align, size_t size) { return count(__libc_memalign(align, size)); }
int posix_memalign(void **out, size_t align, size_t size) {
    *out = count(__libc_memalign(align, size));
    return *out ? 0 : 12;
}
void free(void *memory) {
    allocations += watching;
    __libc_free(memory);
}

static void before(void) { watching = 1; }
static void after(void) { watching = 0; }

int main(int argc, char **argv) {
    PGconn *conn[3];
    if (argc != 2 || pthread_atfork(before, after, after) != 0)
        return 2;
    for (int i = 0; i < 3; i++) {
        conn[i] = PQconnectdb(argv[1]);
        if (PQstatus(conn[i]) != CONNECTION_OK) {
            fputs(PQerrorMessage(conn[i]), stderr);
            return 1;
        }
    }
    pid_t pid = fork();
    if (pid == 0) {
        int counted = allocations, dead = 0;
        for (int i = 0; i < 3; i++) {
            PQclear(PQexec(conn[i], "select 1"));
            dead += PQstatus(conn[i]) == CONNECTION_BAD;
        }
        printf("dead %d allocations %d\n", dead, counted);
        fflush(stdout);
        _exit(0);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 1;
    for (int i = 0; i < 3; i++)
        PQfinish(conn[i]);
    return status != 0;
}
