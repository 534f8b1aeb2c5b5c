/* Allocates and frees `argument` times, prints a word and exits with 3. */
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments)
{
    for (int i = count > 1 ? atoi(arguments[1]) : 1; i > 0; i--) {
        void *volatile block = malloc(40);
        free(block);
    }
    puts("done");
    return 3;
}
