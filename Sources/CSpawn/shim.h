// Of glibc 2.34 and newer, which Swift's Glibc module leaves out.
#include <spawn.h>

// Closes `from` and all descriptors above it in the process that is started.
int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);
