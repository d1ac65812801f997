/*
 * forkguard.h - the C interface of libforkguard.
 *
 * A program that is preloaded with or linked to libforkguard is protected
 * without calling any of this. The functions below are for programs that want
 * to look, to hand a session to a child on purpose, or to have a session
 * watched that was not opened through connect(2).
 *
 * Link with -lforkguard -lpq (pkg-config: forkguard). To call a function only
 * where the library happens to be preloaded, declare it weak and test it:
 *
 *     #pragma weak forkguard_release
 *     if (forkguard_release) forkguard_release(PQsocket(conn));
 *
 * Every function may be called from any thread, and after fork in the child.
 * None may be called from a signal handler or between vfork and execve. A
 * failure returns -1 and sets errno; success leaves errno alone.
 */
#ifndef FORKGUARD_H
#define FORKGUARD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library in use, "major.minor.patch". Lives for ever. */
const char *forkguard_version(void);

/* What a descriptor is. */
enum forkguard_state {
    FORKGUARD_NONE = 0,      /* no PostgreSQL session that is known, or not open */
    FORKGUARD_OURS = 1,      /* a session of this process */
    FORKGUARD_ABANDONED = 2, /* was a session of the parent's; dead in this process */
    FORKGUARD_INHERITED = 3  /* a session of the parent's, left alone: the policies report and abort */
};

/* The state of descriptor fd, one of enum forkguard_state. Looks at what is
 * open there now: a number that was closed and used again is FORKGUARD_NONE. */
int forkguard_state(int fd);

/* Takes the stream socket fd for a PostgreSQL session of this process from now
 * on: it is abandoned in children forked later. For sockets that did not come
 * from connect(2) and a startup packet: received over a Unix socket, inherited
 * across execve, spoken to through io_uring. Takes back a forkguard_release().
 * 0, or -1: EBADF or ENOTSOCK (not an open socket), EOPNOTSUPP (not a stream
 * socket), EPERM (the policy is off in this program), ENOMEM. */
int forkguard_track(int fd);

/* Hands the session fd to the children: those forked from now on keep it, and
 * it is theirs. This process must not use or finish it any more (close(2) of
 * its descriptor is harmless). A child that forks in its turn hands it on,
 * too, unless it calls forkguard_track(fd) first. 0, or -1: EBADF or ENOTSOCK
 * (not an open socket), ENOENT (no session of this process). */
int forkguard_release(int fd);

/* How long forks waited, see fork_waits below. */
enum forkguard_fork_wait {
    FORKGUARD_WAITED_NOT = 0,
    FORKGUARD_WAITED_10US = 1,    /* less than 10 microseconds */
    FORKGUARD_WAITED_100US = 2,   /* less than 100 microseconds */
    FORKGUARD_WAITED_1MS = 3,     /* less than a millisecond */
    FORKGUARD_WAITED_10MS = 4,    /* less than 10 milliseconds */
    FORKGUARD_WAITED_LONGER = 5,  /* 10 milliseconds and more, to the end */
    FORKGUARD_WAITED_IN_VAIN = 6, /* until the bound, FORKGUARD_FORK_WAIT */
    FORKGUARD_FORK_WAITS = 7
};

/* Counters of this process since it began or was forked. Later versions add
 * fields at the end. */
struct forkguard_counters {
    uint64_t opened;      /* sessions opened, each counted once however many descriptors
                             it has; a connection attempt that libpq makes again is another */
    uint64_t open_now;    /* sessions open now (0 where memory was too short to count) */
    uint64_t abandoned;   /* inherited descriptors made dead */
    uint64_t refused;     /* inherited descriptors that could not be made dead:
                             calls on them are refused instead */
    uint64_t handed_over; /* inherited descriptors kept, because they were handed over,
                             by forkguard_release() or daemon(3) */
    uint64_t fork_waits[FORKGUARD_FORK_WAITS]; /* forks by how long they waited for
                             other threads to be out of a connection attempt, by
                             enum forkguard_fork_wait. Those before the first
                             attempt are not counted */
    uint64_t resumed;     /* inherited sessions made again, equal to what they were */
    uint64_t lost;        /* inherited sessions that could not be: the log says why */
    uint64_t cancels_held; /* cancels that would have ended a statement of the parent's,
                             and were held back */
};

/* Fills the first size bytes of *out, size being sizeof(*out) as the caller
 * knows it. 0, or -1: EINVAL (out is NULL). */
int forkguard_counters(struct forkguard_counters *out, size_t size);

#ifdef __cplusplus
}
#endif

#endif
