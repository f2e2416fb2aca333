import Foundation

/// Keeps other processes, and other users of the same one, from changing a directory of checkpoints meanwhile. Held for as long as it
/// takes to look and to rename, never while weights are written.
enum DirectoryLock {
    private static let patience = Duration.seconds(30)
    private static let pauseMicroseconds: UInt32 = 10_000

    /// - Throws: `CheckpointError` of the code `locked` when another process keeps it.
    static func hold<Result>(_ directory: String, _ body: () throws -> Result) throws -> Result {
        let file = "\(directory)/.lock"
        let descriptor = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw CheckpointError.system(file) }
        // The kernel gives the lock back when the process ends, however it ends.
        defer { close(descriptor) }
        let end = ContinuousClock.now + patience
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR else { throw CheckpointError.system(file) }
            guard ContinuousClock.now < end else {
                throw CheckpointError(
                    .locked, file, "another process has held this lock for \(patience / .seconds(1)) s")
            }
            usleep(pauseMicroseconds)
        }
        return try body()
    }
}
