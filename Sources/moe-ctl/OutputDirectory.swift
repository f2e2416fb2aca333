import Checkpoints
import Files
import Foundation

/// Directories that commands make.
enum OutputDirectory {
    /// Tells before the work, and in a dry run, what would be told after it.
    /// - Throws: why there cannot be a new directory at `path`.
    static func check(_ path: String) throws {
        guard !path.isEmpty else { throw CommandFailure("the new directory has no name; give it one") }
        try NewDirectory.check(path)
        let parent = URL(fileURLWithPath: path).deletingLastPathComponent().path
        guard access(parent + "/.", W_OK | X_OK) == 0 else {
            throw CommandFailure(
                "\(path) cannot be made: \(FileError(path).reason); name a new directory in one that is there and that you "
                    + "may write to")
        }
    }
}
