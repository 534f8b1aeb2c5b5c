/* Ends at once; its child allocates until the file that the argument names is there, starts a child of
 * its own, and then says in that file how it went. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **arguments)
{
    if (fork() != 0)
        return 6;
    setsid();
    for (int file = 0; file < 3; file++)
        close(file);
    for (int i = 0; i < 20000 || access(arguments[1], F_OK) != 0; i++) {
        void *volatile block = malloc(40);
        free(block);
        if (i > 20000)
            usleep(100);
    }
    for (int i = 0; i < 20000; i++)
        free(malloc(50));
    if (fork() == 0) {
        free(malloc(555));
        _exit(0);
    }
    wait(NULL);
    int file = open(arguments[1], O_WRONLY);
    return write(file, "well", 4) != 4;
}
