import Foundation

/// Where the checkpoints of a run are: `step-N` each, beside what another start of the run must not disturb.
public struct CheckpointDirectory: Sendable {
    public let path: String

    public init(_ path: String) {
        // Messages name files as whoever runs this finds them.
        self.path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    }

    /// Makes the directory if need be, durably, and sees whether it can be written to.
    public func prepare() throws(CheckpointError) {
        var parent = path.hasPrefix("/") ? "/" : "."
        for name in path.split(separator: "/") {
            let directory = parent == "/" ? "/\(name)" : "\(parent)/\(name)"
            if !Disk.exists(directory) {
                do throws(CheckpointError) {
                    try Disk.makeDirectory(directory)
                } catch {
                    // Somebody else may have made it meanwhile.
                    guard Disk.isDirectory(directory) else { throw error }
                }
                try Disk.syncDirectory(parent)
            }
            parent = directory
        }
        guard Disk.isDirectory(path) else { throw CheckpointError(.system, path, "is not a directory") }
        guard access(path, W_OK | X_OK) == 0 else { throw .system(path) }
    }

    public func path(ofStep step: Int) -> String { "\(path)/step-\(step)" }

    /// N of every `step-N`, whole or not, ascending; none when there is no such directory.
    public func steps() throws(CheckpointError) -> [Int] {
        guard Disk.exists(path) else { return [] }
        return try Disk.names(in: path).compactMap(Self.step).sorted()
    }

    /// N of a name as this program gives it.
    static func step(ofName name: String) -> Int? {
        guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), (0...CheckpointManifest.limit).contains(step)
        else { return nil }
        // Neither "step-+1" nor "step-01".
        return name == "step-\(step)" ? step : nil
    }

    /// The checkpoint `step-N`.
    /// - Throws: `CheckpointError` when it is not whole as far as the manifest tells.
    public func checkpoint(ofStep step: Int) throws(CheckpointError) -> Checkpoint {
        try Checkpoint(path: path(ofStep: step))
    }

    /// A sentence about the newest checkpoint before step `step` that is good: every file is read.
    public func advice(insteadOf step: Int) -> String {
        let older = (try? steps())?.filter { $0 < step } ?? []
        for candidate in older.reversed() {
            guard let checkpoint = try? Checkpoint(path: path(ofStep: candidate)), (try? checkpoint.verify()) != nil
            else {
                continue
            }
            return "\(checkpoint.path) is whole: move \(path(ofStep: step)) away to go on from there"
        }
        return "there is no older checkpoint that is whole"
    }
}
