import Foundation

/// Whether a person watches the standard output.
public enum TerminalDetection {
    /// Open MPI's mpirun gives each rank a pseudo-terminal and copies what comes out of it to its own standard output, so
    /// under mpirun that one counts. On other nodes its daemon has none.
    public static func standardOutputIsTerminal(environment: [String: String]) -> Bool {
        guard isatty(STDOUT_FILENO) == 1 else { return false }
        guard environment["OMPI_COMM_WORLD_RANK"] != nil else { return true }
        let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(getppid())/fd/1")
        return target.map { $0.hasPrefix("/dev/pts/") || $0.hasPrefix("/dev/tty") } ?? false
    }
}
