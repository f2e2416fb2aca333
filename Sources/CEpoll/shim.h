// Linux's event queue for sockets, which Swift's Glibc module leaves out.
#include <sys/epoll.h>
