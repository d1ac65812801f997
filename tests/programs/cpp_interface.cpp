// cpp_interface CONNINFO: include/forkguard.h from C++.
#include <forkguard.h>
#include <cstdio>
#include <cstring>
#include <libpq-fe.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int, char **arguments)
{
    PGconn *conn = PQconnectdb(arguments[1]);
    enum forkguard_state state = static_cast<enum forkguard_state>(forkguard_state(PQsocket(conn)));
    struct forkguard_counters counters;
    std::memset(&counters, 0, sizeof counters);
    std::printf("version: %s\n", forkguard_version());
    std::printf("ours: %d\n", state == FORKGUARD_OURS);
    int answer = forkguard_counters(&counters, sizeof counters);
    std::printf("counters: %d, %d\n", answer, static_cast<int>(counters.opened));
    std::fflush(stdout);
    if (fork() == 0) {
        alarm(10);
        std::printf("abandoned: %d\n", forkguard_state(PQsocket(conn)) == FORKGUARD_ABANDONED);
        PGresult *result = PQexec(conn, "select 1");
        std::printf("child: %s, %s", PQstatus(conn) == CONNECTION_BAD ? "bad" : "still ok",
                    PQerrorMessage(conn));
        PQclear(result);
        std::fflush(stdout);
        _exit(0);
    }
    int status;
    wait(&status);
    std::printf("ended: %d\n", status);
    PGresult *result = PQexec(conn, "select 'goes on'");
    std::printf("parent: %s\n", PQgetvalue(result, 0, 0));
    PQclear(result);
    PQfinish(conn);
    return 0;
}
