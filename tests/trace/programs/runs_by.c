/* Runs a program by the function that its first argument names, with an empty environment where that
 * can be given and a cleared one elsewhere. Fails to run two others first. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int main(int count, char **arguments)
{
    const char *function = arguments[1], *program = arguments[2];
    char *const of_program[] = {"name", "7", NULL}, *const empty[] = {NULL};
    int status = 0;
    pid_t pid;
    execl("/no/such/program", "program", NULL);
    execl("/etc/passwd", "program", NULL);
    clearenv();
    if (!strcmp(function, "execl"))
        execl(program, "name", "7", NULL);
    else if (!strcmp(function, "execlp"))
        execlp(program, "name", "7", NULL);
    else if (!strcmp(function, "execle"))
        execle(program, "name", "7", NULL, empty);
    else if (!strcmp(function, "execv"))
        execv(program, of_program);
    else if (!strcmp(function, "execvp"))
        execvp(program, of_program);
    else if (!strcmp(function, "execve"))
        execve(program, of_program, NULL);
    else if (!strcmp(function, "execvpe"))
        execvpe(program, of_program, empty);
    else if (!strcmp(function, "fexecve"))
        fexecve(open(program, O_RDONLY | O_CLOEXEC), of_program, empty);
    else if (!strcmp(function, "posix_spawn"))
        posix_spawn(&pid, program, NULL, NULL, of_program, empty);
    else if (!strcmp(function, "posix_spawnp"))
        posix_spawnp(NULL, program, NULL, NULL, of_program, environ);
    else if (!strcmp(function, "vfork") && vfork() == 0)
        _exit(execve(program, of_program, empty));
    wait(&status);
    return WEXITSTATUS(status);
}
