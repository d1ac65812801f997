/* binding CONNINFO [pause]: a program linked to libpq, which reaches it in three ways: by the
 * call, by a pointer in static data, and by dlsym. Built lazy, bound now, and without PIE. */
#include "session.h"
#include <dlfcn.h>

static struct {
    PGresult *(*exec)(PGconn *, const char *);
    PGTransactionStatusType (*transaction)(const PGconn *);
} table = {PQexec, PQtransactionStatus};

#ifdef WEAK /* libpq 17 has it */
#pragma weak PQcancelCreate
void *PQcancelCreate(PGconn *);
#endif

int main(int count, char **arguments)
{
    PGresult *(*found)(PGconn *, const char *);

    if (count < 2)
        return 2;
    alarm(40);
#ifdef WEAK
    fact("weak", "%s", PQcancelCreate ? "there" : "null");
#endif
    PGconn *conn = dial(arguments[1]);
    fact("call", "%s", PQgetvalue(PQexec(conn, "select 1"), 0, 0));
    fact("pointer", "%s", PQgetvalue(table.exec(conn, "select 2"), 0, 0));
    fact("transaction", "%d", table.transaction(conn));
    *(void **)&found = dlsym(RTLD_DEFAULT, "PQexec");
    fact("dlsym", "%s", PQgetvalue(found(conn, "select 3"), 0, 0));
    fact("same", "%d", found == table.exec || count > 2);
    PQfinish(conn);
    return 0;
}
