// What Swift's Glibc module leaves out: giving memory back, and Linux's event queue for sockets.
#include <malloc.h>
#include <spawn.h>
#include <sys/epoll.h>

// Of glibc 2.34 and newer. Closes `from` and all descriptors above it in the process that is started.
int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);
