/* Loads and unloads the library named by the argument. */
#include <dlfcn.h>

int main(int count, char **arguments)
{
    void *library = count == 2 ? dlopen(arguments[1], RTLD_NOW) : 0;
    return !library || dlclose(library) != 0;
}
