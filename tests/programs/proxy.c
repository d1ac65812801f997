/* A libpq of an old layout (one segment for code and tables, DT_HASH alone; see binding.rs): it
 * passes its calls on to Debian's. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

static void *real(const char *name)
{
    static void *library;
    if (!library)
        library = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
    void *found = library ? dlsym(library, name) : NULL;
    if (!found)
        abort();
    return found;
}

#define PASS(result, name, kind) result name(kind one) { return ((result (*)(kind))real(#name))(one); }
PASS(void *, PQconnectdb, const char *)
PASS(void, PQfinish, void *)
PASS(int, PQconnectPoll, void *)
PASS(int, PQstatus, void *)
PASS(int, PQsocket, void *)
PASS(char *, PQerrorMessage, void *)
PASS(void, PQclear, void *)
#ifdef NEWER
int PQbrandNew(void) { return 1; }
int lo_brandnew(void) { return 1; }
#endif
int PQlibVersion(void) { return ((int (*)(void))real("PQlibVersion"))(); }
void *PQexec(void *conn, const char *sql)
{
    return ((void *(*)(void *, const char *))real("PQexec"))(conn, sql);
}
char *PQgetvalue(void *result, int row, int column)
{
    return ((char *(*)(void *, int, int))real("PQgetvalue"))(result, row, column);
}
