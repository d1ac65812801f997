/* A preload library of the kind of uid_wrapper and torsocks: it stands before libc's functions, and
 * looks the real ones up by dlsym at their first call, without a lock and again if it is entered
 * meanwhile. With -DDLSYM it stands before dlsym as well, whose real one it finds by dlvsym. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

#define NEXT(name) \
    static __typeof__(&name) real; \
    if (!real) \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#pragma GCC diagnostic ignored "-Wpedantic"

long syscall(long number, ...) {
    NEXT(syscall);
    va_list list;
    va_start(list, number);
    long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long);
    long d = va_arg(list, long), e = va_arg(list, long), f = va_arg(list, long);
    va_end(list);
    return real(number, a, b, c, d, e, f);
}

unsigned long getauxval(unsigned long key) {
    NEXT(getauxval);
    return real ? real(key) : 0;
}

#undef pthread_self
pthread_t pthread_self(void) {
    NEXT(pthread_self);
    return real();
}

int pthread_getcpuclockid(pthread_t thread, clockid_t *clock) {
    NEXT(pthread_getcpuclockid);
    return real(thread, clock);
}

int dl_iterate_phdr(int (*each)(struct dl_phdr_info *, size_t, void *), void *data) {
    NEXT(dl_iterate_phdr);
    return real(each, data);
}

pid_t getpid(void) {
    NEXT(getpid);
    return real();
}

pid_t gettid(void) {
    NEXT(gettid);
    return real();
}

int sched_yield(void) {
    NEXT(sched_yield);
    return real();
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    NEXT(clock_gettime);
    return real(clock, time);
}

#ifdef DLSYM
void *dlsym(void *handle, const char *name) {
    static void *(*real)(void *, const char *);
    if (!real)
        real = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    return real(handle, name);
}
#endif
