/* event_loop CONNINFO CHILD: the events that a parent's loop sees, with children of a kind
 * ("none": without any) that have an inherited epoll, too. */
#include "session.h"

static int level, edge;

static void child(const char *kind, PGconn *conn)
{
    int fd = PQsocket(conn);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = 99};

    if (!strcmp(kind, "use"))
        use("child", conn);
    else if (!strcmp(kind, "finish"))
        PQfinish(conn);
    else if (!strcmp(kind, "delete")) /* what event libraries do when a loop is closed */
        fact("done", "%d %d", epoll_ctl(level, EPOLL_CTL_DEL, fd, NULL),
             epoll_ctl(edge, EPOLL_CTL_DEL, fd, NULL));
    else if (!strcmp(kind, "modify")) {
        event.events = 0;
        fact("done", "%d %d", epoll_ctl(level, EPOLL_CTL_MOD, fd, &event),
             epoll_ctl(edge, EPOLL_CTL_MOD, fd, &event));
    } else if (!strcmp(kind, "add")) {
        fact("done", "%d %d", epoll_ctl(level, EPOLL_CTL_ADD, fd, &event),
             epoll_ctl(edge, EPOLL_CTL_ADD, fd, &event));
        event.data.fd = 98;
        fact("done", "%d", epoll_ctl(level, EPOLL_CTL_ADD, dup(fd), &event));
    }
}

/* All events of a moment: what was said about which descriptor. */
static void see(const char *name, PGconn *conn)
{
    struct epoll_event events[8];
    char said[256];
    int length = 0;
    for (int round = 0; round < 2; round++) { /* edge-triggered: nothing the second time */
        int seen = epoll_wait(level, events, 8, 40);
        length += snprintf(said + length, sizeof said - length, "level");
        for (int i = 0; i < seen; i++)
            length += snprintf(said + length, sizeof said - length, " %d:%x", events[i].data.fd,
                               events[i].events);
        seen = epoll_wait(edge, events, 8, 40);
        length += snprintf(said + length, sizeof said - length, ", edge");
        for (int i = 0; i < seen; i++)
            length += snprintf(said + length, sizeof said - length, " %d:%x", events[i].data.fd,
                               events[i].events);
        length += snprintf(said + length, sizeof said - length, ", poll %x; ",
                           ready(PQsocket(conn), POLLIN, 40));
    }
    fact(name, "%s", said);
}

int main(int count, char **arguments)
{
    if (count < 3)
        return 2;
    PGconn *conn = dial(arguments[1]), *other = dial(arguments[1]);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = 1};
    level = epoll_create1(0);
    edge = epoll_create1(0);
    command(conn, on_channel("listen"));
    epoll_ctl(level, EPOLL_CTL_ADD, PQsocket(conn), &event);
    event.events |= EPOLLET;
    epoll_ctl(edge, EPOLL_CTL_ADD, PQsocket(conn), &event);
    alarm(40);

    /* What a child has put into its parent's epoll is seen there as long as the child lives. */
    int lives = !strcmp(arguments[2], "add");
    pid_t pids[3];
    int children = strcmp(arguments[2], "none") ? 3 : 0;
    for (int i = 0; i < children; i++) {
        pids[i] = child_of(fork());
        if (pids[i] == 0) {
            child(arguments[2], conn);
            while (lives)
                pause();
            _exit(0);
        }
        if (lives)
            usleep(200 * 1000);
        else
            ended("ended", pids[i]);
    }
    see("quiet", conn);
    command(other, on_channel("notify"));
    see("notified", conn);
    PQconsumeInput(conn);
    fact("news", "%s", PQnotifies(conn) ? "came" : "none");
    see("read", conn);
    for (int i = 0; i < children && lives; i++) {
        kill(pids[i], SIGKILL);
        ended("ended", pids[i]);
    }
    return 0;
}
