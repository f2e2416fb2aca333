import Foundation

// A peer that goes away is an error to handle, not the end of the process.
signal(SIGPIPE, SIG_IGN)
exit(Program.run())
