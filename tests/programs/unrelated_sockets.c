/* unrelated_sockets WHAT [HOW]: sockets that are no PostgreSQL session, and ones whose first bytes make
 * them one. The server is this program itself, on loopback. */
#include "session.h"
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

static socklen_t length;
static struct sockaddr_storage address;

static int listener(const char *family)
{
    struct sockaddr_in *v4 = (void *)&address;
    struct sockaddr_in6 *v6 = (void *)&address;
    struct sockaddr_un *path = (void *)&address;
    int kind = strcmp(family, "udp") ? SOCK_STREAM : SOCK_DGRAM;

    memset(&address, 0, sizeof address);
    if (!strcmp(family, "v6")) {
        v6->sin6_family = AF_INET6;
        v6->sin6_addr = in6addr_loopback;
        length = sizeof *v6;
    } else if (!strcmp(family, "unix")) { /* an abstract name of the kernel's choice, unix(7) */
        path->sun_family = AF_UNIX;
        length = sizeof path->sun_family;
    } else {
        v4->sin_family = AF_INET;
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        length = sizeof *v4;
    }
    int fd = socket(address.ss_family, kind, 0);
    if (bind(fd, (void *)&address, length) != 0 || (kind == SOCK_STREAM && listen(fd, 8) != 0))
        broken("listen");
    length = sizeof address;
    getsockname(fd, (void *)&address, &length);
    return fd;
}

/* A connection: ours, and the server's end of it. */
static int reach(const char *family, int *served)
{
    int listening = listener(family);
    int fd = socket(address.ss_family, strcmp(family, "udp") ? SOCK_STREAM : SOCK_DGRAM, 0);
    if (connect(fd, (void *)&address, length) != 0)
        broken("connect");
    if (!strcmp(family, "udp")) {
        struct sockaddr_storage own;
        socklen_t size = sizeof own;
        getsockname(fd, (void *)&own, &size);
        if (connect(listening, (void *)&own, size) != 0)
            broken("connect back");
        *served = listening;
    } else {
        *served = accept(listening, NULL, NULL);
        close(listening);
    }
    return fd;
}

/* First messages. */
#define MESSAGE(bytes) {bytes, sizeof(bytes) - 1}
struct message {
    const char *bytes;
    size_t length;
};

static struct message first(const char *name)
{
    static char hello[200];
    static const struct { const char *name; struct message message; } known[] = {
        {"echo", MESSAGE("hello, is there an echo\n")},
        {"http", MESSAGE("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")},
        /* A metadata request, version 0, correlation 1, client id "client", no topics. */
        {"kafka", MESSAGE("\0\0\0\x14\0\3\0\0\0\0\0\1\0\6client\0\0\0\0")},
        {"cancel", MESSAGE("\0\0\0\x10\4\xd2\x16\x2e\0\0\1\2\3\4\5\6")},
        {"startup", MESSAGE("\0\0\0\x1f\0\3\0\0" "user\0alice\0database\0x\0\0")},
        {"protocol 3.2", MESSAGE("\0\0\0\x1f\0\3\0\2" "user\0alice\0database\0x\0\0")},
        {"SSLRequest", MESSAGE("\0\0\0\x08\4\xd2\x16\x2f")},
        {"GSSENCRequest", MESSAGE("\0\0\0\x08\4\xd2\x16\x30")},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].name, name))
            return known[i].message;

    /* A ClientHello (RFC 8446, 4.1.2) with one extension, ALPN (RFC 7301): "ALPN protocol". */
    const char *protocol = name + 5;
    int size = strlen(protocol), at = 0;
    char *p = hello;
    p[at++] = 22, p[at++] = 3, p[at++] = 1;
    p[at++] = 0, p[at++] = 4 + 34 + 1 + 4 + 2 + 2 + 4 + 3 + size;
    p[at++] = 1, p[at++] = 0, p[at++] = 0, p[at++] = 34 + 1 + 4 + 2 + 2 + 4 + 3 + size;
    p[at++] = 3, p[at++] = 3, at += 32;                /* version, random */
    p[at++] = 0;                                       /* session id */
    p[at++] = 0, p[at++] = 2, p[at++] = 0x13, p[at++] = 1; /* one cipher suite */
    p[at++] = 1, p[at++] = 0;                          /* no compression */
    p[at++] = 0, p[at++] = 4 + 3 + size;               /* extensions */
    p[at++] = 0, p[at++] = 16, p[at++] = 0, p[at++] = 3 + size;
    p[at++] = 0, p[at++] = 1 + size, p[at++] = size;
    memcpy(p + at, protocol, size);
    return (struct message){hello, at + size};
}

static void put(int fd, struct message message, const char *how)
{
    char *bytes = (char *)message.bytes;
    struct iovec parts[3] = {{bytes, 3}, {bytes + 3, 5}, {bytes + 8, message.length - 8}};
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = 3};
    size_t sent = 0, step = !strcmp(how, "byte by byte") ? 1 : !strcmp(how, "by eights") ? 8 : 0;

    if (step)
        for (ssize_t now; sent < message.length; sent += now) {
            now = message.length - sent < step ? message.length - sent : step;
            if (send(fd, bytes + sent, now, 0) != now)
                broken("send");
        }
    else if (!strcmp(how, "send"))
        sent = send(fd, bytes, message.length, MSG_NOSIGNAL);
    else if (!strcmp(how, "sendto"))
        sent = sendto(fd, bytes, message.length, 0, NULL, 0);
    else if (!strcmp(how, "write"))
        sent = write(fd, bytes, message.length);
    else if (!strcmp(how, "writev"))
        sent = writev(fd, parts, 3);
    else if (!strcmp(how, "sendmsg"))
        sent = sendmsg(fd, &header, 0);
    if (sent != message.length)
        broken(how);
}

/* Says a word from one end and hears it at the other. */
static const char *word(int from, int to, const char *said)
{
    static char heard[16];
    memset(heard, 0, sizeof heard);
    if (send(from, said, strlen(said), MSG_NOSIGNAL) != (ssize_t)strlen(said))
        return strerrorname_np(errno);
    if (!ready(to, POLLIN, 2000) || recv(to, heard, sizeof heard - 1, 0) <= 0)
        return "silence";
    return heard;
}

/* A first message, then a fork: can parent and child still speak? */
static void across_a_fork(const char *family, const char *message, const char *how)
{
    int served, fd = reach(family, &served);
    char drain[256];
    put(fd, first(message), how);
    usleep(1000);
    while (recv(served, drain, sizeof drain, MSG_DONTWAIT) > 0)
        ;
    fact("before", "%s", word(fd, served, "from parent"));
    pid_t pid = child_of(fork());
    if (pid == 0) {
        const char *heard = word(fd, served, "from child");
        fact("child", "%s", heard);
        if (heard[0] == 'f') /* a session's answers are the parent's: leave them */
            fact("child", "%s", word(served, fd, "to child"));
        close(fd);
        _exit(0);
    }
    ended("ended", pid);
    fact("after", "%s", word(fd, served, "from parent"));
    fact("back", "%s", word(served, fd, "to parent"));
}

static void pair_across_a_fork(void)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        broken("socketpair");
    struct message startup = first("startup"); /* no connect(2): it cannot be a client's */
    char drain[256];
    put(pair[0], startup, "send");
    recv(pair[1], drain, sizeof drain, 0);
    fact("before", "%s", word(pair[0], pair[1], "from parent"));
    pid_t pid = child_of(fork());
    if (pid == 0) {
        fact("child", "%s", word(pair[0], pair[1], "from child"));
        fact("child", "%s", word(pair[1], pair[0], "to child"));
        _exit(0);
    }
    ended("ended", pid);
    fact("after", "%s", word(pair[0], pair[1], "from parent"));
    fact("back", "%s", word(pair[1], pair[0], "to parent"));
}

/* Wild pointers on a socket whose first bytes are awaited: EFAULT, as the kernel says. */
static void wild_pointers(void)
{
    void *volatile wild = (void *)8; /* volatile: what the compiler cannot see it does not forbid */
    volatile int minus = -1;
    int served;
    struct iovec bad = {wild, 100};
    struct iovec half[2] = {{"abcd", 4}, {wild, 100}};
    struct msghdr header = {.msg_iov = wild, .msg_iovlen = 1}, inner = {.msg_iov = &bad, .msg_iovlen = 1};
#define TRY(call)                                                                                  \
    do {                                                                                           \
        int fd = reach("v4", &served);                                                             \
        errno = 0;                                                                                 \
        ssize_t result = call;                                                                     \
        fact("wild", "%s: %zd %s", #call, result, strerrorname_np(errno));                         \
        fact("then", "%s", word(fd, served, "hello"));                                             \
        close(fd), close(served);                                                                  \
    } while (0)
    TRY(send(fd, wild, 100, 0));
    TRY(send(fd, NULL, 100, 0));
    TRY(sendto(fd, wild, 100, 0, NULL, 0));
    TRY(write(fd, wild, 100));
    TRY(writev(fd, wild, 2));
    TRY(writev(fd, &bad, 1));
    TRY(writev(fd, half, minus));
    TRY(sendmsg(fd, wild, 0));
    TRY(sendmsg(fd, &header, 0));
    TRY(sendmsg(fd, &inner, 0));
    TRY(connect(fd, wild, sizeof(struct sockaddr_in)));
    TRY(recv(fd, wild, 0, MSG_DONTWAIT));
    TRY(ioctl(fd, FIONBIO, wild));
    TRY(fcntl(fd, F_GETLK, wild));
    TRY(epoll_ctl(fd, EPOLL_CTL_ADD, fd, wild));
    TRY(poll(wild, 1, 0));
    TRY(select(fd + 1, wild, NULL, NULL, NULL));
}

static int cancelled_fd;
static volatile int cleaned;

static void clean(void *unused)
{
    (void)unused;
    cleaned++;
}

static void *wait_in(void *how)
{
    char byte;
    struct pollfd list = {.fd = cancelled_fd, .events = POLLIN};
    struct iovec vector = {&byte, 1};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    pthread_cleanup_push(clean, NULL);
    if (!strcmp(how, "read"))
        read(cancelled_fd, &byte, 1);
    else if (!strcmp(how, "recv"))
        recv(cancelled_fd, &byte, 1, 0);
    else if (!strcmp(how, "recvmsg"))
        recvmsg(cancelled_fd, &header, 0);
    else if (!strcmp(how, "poll"))
        poll(&list, 1, -1);
    else if (!strcmp(how, "select")) {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(cancelled_fd, &set);
        select(cancelled_fd + 1, &set, NULL, NULL, NULL);
    } else if (!strcmp(how, "epoll_wait")) {
        struct epoll_event event = {.events = EPOLLIN};
        int epoll = epoll_create1(0);
        epoll_ctl(epoll, EPOLL_CTL_ADD, cancelled_fd, &event);
        epoll_wait(epoll, &event, 1, -1);
    } else if (!strcmp(how, "write")) {
        static char much[1 << 16];
        while (write(cancelled_fd, much, sizeof much) >= 0)
            ;
    }
    pthread_cleanup_pop(0);
    return NULL;
}

/* pthread_cancel of a thread that waits: on an unrelated socket, and on a session. */
static void cancelled(const char *message)
{
    static const char *const ways[] = {"read", "recv", "recvmsg", "poll", "select", "epoll_wait", "write"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        int served;
        pthread_t thread;
        void *result = NULL;
        cancelled_fd = reach("v4", &served);
        if (strcmp(message, "nothing"))
            put(cancelled_fd, first(message), "send");
        cleaned = 0;
        pthread_create(&thread, NULL, wait_in, (void *)ways[i]);
        usleep(50000); /* until it waits */
        pthread_cancel(thread);
        struct timespec end;
        clock_gettime(CLOCK_REALTIME, &end);
        end.tv_sec += 5;
        if (pthread_timedjoin_np(thread, &result, &end) != 0) {
            fact("cancelled", "%s: waits on", ways[i]);
            continue;
        }
        fact("cancelled", "%s: %s, cleaned up %d times", ways[i],
             result == PTHREAD_CANCELED ? "yes" : "no", cleaned);
        close(cancelled_fd);
        close(served);
    }
}

/* errno after a call that succeeds is what it was, and after one that fails the kernel's. */
static void errors(void)
{
    int served, fd;
    char byte;
    struct pollfd list = {.fd = -1};
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(0);
#define KEEPS(call)                                                                                \
    do {                                                                                           \
        errno = 1234;                                                                              \
        long result = (long)(call);                                                                \
        fact("errno", "%s: %s %d", #call, result < 0 ? "-1" : "ok", errno);                        \
    } while (0)
    for (int round = 0; round < 2; round++) {
        listener("v4");
        KEEPS(fd = socket(AF_INET, SOCK_STREAM, 0));
        KEEPS(connect(fd, (void *)&address, length));
        close(fd);
        fd = reach("v4", &served);
        if (round == 0)
            KEEPS(send(fd, "hello", 5, 0));
        else
            KEEPS(send(fd, first("startup").bytes, 31, 0));
        KEEPS(send(fd, "x", 1, 0));
        KEEPS(write(fd, "x", 1));
        KEEPS(recv(fd, &byte, 1, MSG_DONTWAIT));
        KEEPS(poll(&list, 1, 0));
        KEEPS(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
        KEEPS(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
        KEEPS(fcntl(fd, F_SETFL, O_NONBLOCK));
        KEEPS(fcntl(fd, F_SETFD, FD_CLOEXEC));
        KEEPS(recv(fd, &byte, 1, 0));
        KEEPS(dup2(fd, 60));
        KEEPS(dup3(60, 60, 0));
        KEEPS(dup2(60, -1));
        KEEPS(close(dup(fd)));
        KEEPS(close(60));
        KEEPS(close(60));
        KEEPS(shutdown(fd, SHUT_WR));
        pid_t pid;
        KEEPS(pid = fork());
        if (pid == 0)
            _exit(0);
        ended("ended", pid);
        KEEPS(close(fd));
        KEEPS(close(fd));
        KEEPS(close(-1));
        KEEPS(connect(-1, (void *)&address, length));
        KEEPS(send(-1, "x", 1, 0));
    }
}

static int password_listener;

/* A server that asks for a password in the clear, and is content with it. */
static void *ask_for_password(void *unused)
{
    static const char ask[] = "R\0\0\0\x08\0\0\0\3", fine[] = "R\0\0\0\x08\0\0\0\0Z\0\0\0\5I";
    char bytes[1024] = "";
    (void)unused;
    int fd = accept(password_listener, NULL, NULL);
    if (recv(fd, bytes, sizeof bytes, 0) <= 0 || send(fd, ask, sizeof ask - 1, 0) < 0
        || recv(fd, bytes, sizeof bytes - 1, 0) <= 5 || send(fd, fine, sizeof fine - 1, 0) < 0)
        broken("the password's server");
    fact("heard", "%s", bytes + 5);
    recv(fd, bytes, sizeof bytes, 0);
    return NULL;
}

static void password(void)
{
    char conninfo[200];
    pthread_t thread;
    password_listener = listener("v4");
    pthread_create(&thread, NULL, ask_for_password, NULL);
    snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%d user=alice dbname=x sslmode=disable "
             "gssencmode=disable password=marker-of-a-password",
             ntohs(((struct sockaddr_in *)&address)->sin_port));
    PGconn *conn = dial(conninfo);
    pid_t pid = child_of(fork());
    if (pid == 0) {
        use("child", conn);
        PQfinish(conn);
        _exit(0);
    }
    ended("ended", pid);
}

int main(int count, char **arguments)
{
    if (count < 2)
        return 2;
    alarm(50);
    if (!strcmp(arguments[1], "speak"))
        across_a_fork(arguments[2], arguments[3], arguments[4]);
    else if (!strcmp(arguments[1], "pair"))
        pair_across_a_fork();
    else if (!strcmp(arguments[1], "wild"))
        wild_pointers();
    else if (!strcmp(arguments[1], "cancel"))
        cancelled(arguments[2]);
    else if (!strcmp(arguments[1], "password"))
        password();
    else if (!strcmp(arguments[1], "errno"))
        errors();
    return 0;
}
