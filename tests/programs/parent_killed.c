/* parent_killed CONNINFO SECONDS: a parent with an open session is killed while its child
 * lives. Does the server notice, within so many seconds? */
#include "session.h"

int main(int count, char **arguments)
{
    int lines[2];
    struct { int backend; pid_t child; } said;
    char question[128];
    if (count < 3 || pipe(lines) != 0)
        return 2;
    prctl(PR_SET_CHILD_SUBREAPER, 1);

    pid_t parent = child_of(fork());
    if (parent == 0) {
        PGconn *conn = dial(arguments[1]);
        said.backend = PQbackendPID(conn);
        said.child = child_of(fork());
        if (said.child == 0) {
            alarm(3 * CHILD_SECONDS); /* longer than anybody waits for the backend */
            pause();
            _exit(0);
        }
        if (write(lines[1], &said, sizeof said) != sizeof said)
            broken("write");
        raise(SIGKILL);
    }
    if (read(lines[0], &said, sizeof said) != sizeof said)
        broken("read");
    ended("parent", parent);
    PGconn *conn = dial(arguments[1]);
    snprintf(question, sizeof question, "select count(*) from pg_stat_activity where pid = %d",
             said.backend);
    int left = atoi(arguments[2]) * 20;
    while (strcmp(value(conn, question), "0") && left-- > 0)
        usleep(50000);
    fact("child", "%s", waitpid(said.child, NULL, WNOHANG) == 0 ? "lives" : "is gone");
    fact("backend", "%s", left >= 0 ? "gone" : "still there");
    kill(said.child, SIGKILL);
    ended("ended", said.child);
    return 0;
}
