/* resolved: calls an indirect function that is resolved by dlsym (resolver.c). */
#include "session.h"

int resolver_call(void);

int main(void)
{
    fact("resolved", "%d", resolver_call());
    return 0;
}
