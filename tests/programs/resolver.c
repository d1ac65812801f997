/* A library with an indirect function whose resolver calls dlsym: while ld.so relocates.
 * Built so that its own reference to dlsym is bound by then (-fno-plt, -z now). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>

static int answer(void) { return 42; }
static int (*resolve(void))(void)
{
    return dlsym(RTLD_DEFAULT, "getpid") ? answer : answer;
}
int resolved(void) __attribute__((ifunc("resolve")));
int resolver_call(void) { return resolved(); }
