import Foundation

/// A directory of files that comes into being whole or not at all.
package enum NewDirectory {
    /// Has `fill` write files to a directory beside the target, whose path it gets, and gives that the target's name. The names are on
    /// the disk then; the files have to be already.
    /// - Parameter target: must not be there.
    /// - Throws: `CheckpointError`, or what `fill` throws; nothing is left behind then.
    package static func make<Result>(_ target: String, _ fill: (String) throws -> Result) throws -> Result {
        try check(target)
        let url = URL(fileURLWithPath: target)
        let parent = url.deletingLastPathComponent().path
        let partial = "\(parent)/.\(url.lastPathComponent).\(UUID().uuidString).partial"
        try Disk.makeDirectory(partial)
        do {
            let result = try fill(partial)
            try Disk.syncDirectory(partial)
            try Disk.move(partial, to: target)
            try Disk.syncDirectory(parent)
            return result
        } catch {
            try? Disk.removeDirectory(partial)
            throw error
        }
    }

    /// - Throws: `CheckpointError` when something is at `target`.
    package static func check(_ target: String) throws(CheckpointError) {
        guard !Disk.exists(target) else {
            throw CheckpointError(.system, target, "is there already; name a new directory")
        }
    }
}
