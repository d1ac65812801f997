/* c_weak: a program that calls the library where it happens to be preloaded, as
 * include/forkguard.h shows. */
#include <stdio.h>
#include <forkguard.h>

#pragma weak forkguard_version

int main(void)
{
    printf("version: %s\n", forkguard_version ? forkguard_version() : "none");
    return 0;
}
