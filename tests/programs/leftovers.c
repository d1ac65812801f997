/* leftovers CONNINFO: a secret is sent in a SET, a prepared statement and ALTER ROLE; the program wipes its own
 * copies. How many are in its memory while the session is open, and when it is closed. */
#include "session.h"

static const unsigned char HIDDEN[] = {'h' ^ 1, 'u' ^ 1, 'n' ^ 1, 't' ^ 1, 'e' ^ 1, 'r' ^ 1, '2' ^ 1};

/* In all memory that can be written. */
static long copies(void)
{
    char line[512];
    long found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    if (!maps)
        broken("maps");
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char mode[8];
        if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || mode[1] != 'w')
            continue;
        for (unsigned long at = from; at + sizeof HIDDEN <= to; at++) {
            const unsigned char *byte = (const unsigned char *)at;
            size_t i = 0;
            while (i < sizeof HIDDEN && (byte[i] ^ 1) == HIDDEN[i])
                i++;
            found += i == sizeof HIDDEN;
        }
    }
    fclose(maps);
    return found;
}

static void send_it(PGconn *conn, const char *format)
{
    char sql[200], secret[sizeof HIDDEN + 1] = "";
    for (size_t i = 0; i < sizeof HIDDEN; i++)
        secret[i] = HIDDEN[i] ^ 1;
    snprintf(sql, sizeof sql, format, secret);
    command(conn, sql);
    explicit_bzero(sql, sizeof sql);
    explicit_bzero(secret, sizeof secret);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    PGconn *conn = dial(argv[1]);
    fact("none", "%ld", copies());
    send_it(conn, "alter role current_user password '%s'");
    fact("password", "%ld", copies());
    send_it(conn, "select length(repeat('x', 16000)) -- %.0s");
    send_it(conn, "set app.key to '%s'");
    send_it(conn, "prepare p as select '%s'");
    fact("open", "%ld", copies());
    for (int i = 0; i < 3; i++)
        send_it(conn, "select 1 /* a longer text over what libpq's buffer held before, without the word %.0s */");
    fact("later", "%ld", copies());
    PQfinish(conn);
    fact("closed", "%ld", copies());
    return 0;
}
