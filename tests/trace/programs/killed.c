/* Allocates `argument` blocks, then kills itself at once. */
#include <signal.h>
#include <stdlib.h>

int main(int count, char **arguments)
{
    for (int i = count > 1 ? atoi(arguments[1]) : 1; i > 0; i--)
        if (!malloc(24))
            return 1;
    return raise(SIGKILL);
}
