import Foundation

/// Whether a person watches what a process writes.
public enum TerminalDetection {
    /// Open MPI's mpirun gives each rank a pseudo-terminal and pipes, and copies what comes out of them to its own standard
    /// output and error, so under mpirun those count. On other nodes its daemon has none.
    /// - Parameter descriptor: standard output or standard error.
    public static func isTerminal(_ descriptor: Int32, environment: [String: String]) -> Bool {
        guard environment["OMPI_COMM_WORLD_RANK"] != nil else { return isatty(descriptor) == 1 }
        // A file that the rank itself was given, past mpirun.
        if descriptor == STDOUT_FILENO, isatty(descriptor) != 1 { return false }
        let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(getppid())/fd/\(descriptor)")
        return target.map { $0.hasPrefix("/dev/pts/") || $0.hasPrefix("/dev/tty") } ?? false
    }
}
