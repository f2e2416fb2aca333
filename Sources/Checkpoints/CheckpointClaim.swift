import Foundation

/// One incarnation's right to add checkpoints to a directory. It ends when another incarnation takes it: whoever began last goes
/// on, as the file system says, which all ranks see.
public struct CheckpointClaim: Codable, Hashable, Sendable {
    /// What `incarnation.json` says.
    struct Incarnation: Codable, Hashable, Sendable {
        let run: String
        let incarnation: Int
        /// Of this start alone.
        let id: String
    }

    private let path: String
    private let holder: Incarnation

    private static let name = "incarnation.json"
    private var directory: CheckpointDirectory { CheckpointDirectory(path) }

    /// The incarnation that took the directory last; 0: none.
    /// - Throws: `CheckpointError` when nobody can tell.
    public static func lastIncarnation(in directory: CheckpointDirectory) throws(CheckpointError) -> Int {
        try current(in: directory)?.incarnation ?? 0
    }

    /// - Returns: nil when nobody has taken the directory.
    private static func current(in directory: CheckpointDirectory) throws(CheckpointError) -> Incarnation? {
        let file = "\(directory.path)/\(name)"
        guard Disk.exists(file) || errno != ENOENT else { return nil }
        let json = try Disk.read(file, limitBytes: 1 << 16)
        guard let incarnation = try? JSONDecoder().decode(Incarnation.self, from: json),
            (0...CheckpointManifest.largestNumber).contains(incarnation.incarnation)
        else {
            throw CheckpointError(
                .damaged, file, "does not say who may write here; remove it, and start the run again")
        }
        return incarnation
    }

    /// Takes the directory from whoever had it, and clears away what others have left unfinished, as far as it can be.
    public static func take(_ directory: CheckpointDirectory, run: String, incarnation: Int) throws -> CheckpointClaim {
        let holder = Incarnation(run: run, incarnation: incarnation, id: UUID().uuidString)
        let leftovers = try DirectoryLock.hold(directory.path) {
            let names = try Disk.names(in: directory.path)
            for name in names where name.hasPrefix(".incarnation") {
                try? Disk.remove("\(directory.path)/\(name)")
            }
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys]
            let new = ".incarnation.new"
            _ = try HashedFile.write(encoder.encode(holder) + Data([0x0a]), directory: directory.path, name: new)
            try Disk.move("\(directory.path)/\(new)", to: "\(directory.path)/\(name)")
            try Disk.syncDirectory(directory.path)
            return names.filter { $0.hasPrefix(".step-") }
        }
        // Whoever still writes there has to find that the directory is taken, not that its files are gone; and nobody is to wait for the
        // lock meanwhile. Who takes the directory after this start has other names. Nobody reads what stays; the next start tries again.
        for name in leftovers { try? Disk.remove("\(directory.path)/\(name)") }
        return CheckpointClaim(path: directory.path, holder: holder)
    }

    /// - Throws: `CheckpointError` of the code `superseded` when another incarnation has taken the directory; of another one when
    ///   nobody can tell.
    public func check() throws(CheckpointError) {
        guard let current = try Self.current(in: directory) else {
            throw CheckpointError(
                .damaged, "\(path)/\(Self.name)",
                "is missing, and so nobody can tell who may write here; start the run again")
        }
        guard current != holder else { return }
        throw CheckpointError(
            .superseded, path,
            "was started again since: incarnation \(current.incarnation) of the run \(current.run) has taken it, and "
                + "incarnation \(holder.incarnation) ends")
    }

    /// Where the files of step `step` are written. Not another incarnation's, which may still be at it.
    public func partialPath(ofStep step: Int) -> String { "\(path)/.step-\(step).\(holder.id).partial" }

    /// Makes the directory that the files are written to.
    public func begin(step: Int) throws {
        try DirectoryLock.hold(path) {
            try check()
            try checkTarget(step)
            try Disk.makeDirectory(partialPath(ofStep: step))
        }
    }

    /// Completes the checkpoint, all files of which are on the disk: writes the manifest and gives it its name.
    /// - Parameter keep: how many of the newest checkpoints stay; 0: all. Older ones that cannot be removed stay, too.
    /// - Returns: its path.
    public func commit(_ manifest: CheckpointManifest, keep: Int) throws -> String {
        let (step, partial) = (manifest.step, partialPath(ofStep: manifest.step))
        _ = try HashedFile.write(manifest.json(), directory: partial, name: CheckpointManifest.name)
        try Disk.syncDirectory(partial)
        let obsolete = try DirectoryLock.hold(path) {
            try check()
            try checkTarget(step)
            try Disk.move(partial, to: directory.path(ofStep: step))
            try Disk.syncDirectory(path)
            return retire(keep: keep)
        }
        // The checkpoint is there, whatever becomes of older ones. The next start clears away what cannot be removed now.
        for leftover in obsolete { try? Disk.remove(leftover) }
        return directory.path(ofStep: step)
    }

    /// Removes what was written of a checkpoint that will not be.
    public func abandon(step: Int) {
        // The next incarnation clears away what cannot be removed now.
        try? Disk.removeDirectory(partialPath(ofStep: step))
    }

    private func checkTarget(_ step: Int) throws {
        let target = directory.path(ofStep: step)
        if Disk.exists(target) { throw CheckpointError(.system, target, "is in the way of a new checkpoint") }
    }

    /// Takes the names from the oldest checkpoints, at once, so that none is ever there in part. One that keeps its name stays whole,
    /// until the next commit.
    /// - Returns: what is to be removed.
    private func retire(keep: Int) -> [String] {
        guard keep > 0, let steps = try? directory.steps() else { return [] }
        let whole = steps.filter { Disk.exists("\(directory.path(ofStep: $0))/\(CheckpointManifest.name)") }
        let obsolete = whole.dropLast(keep).compactMap { step -> String? in
            let leftover = "\(path)/.step-\(step).\(holder.id).removed"
            return (try? Disk.move(directory.path(ofStep: step), to: leftover)) == nil ? nil : leftover
        }
        // While the old names may still be the disk's, nothing that they name may go.
        guard !obsolete.isEmpty, (try? Disk.syncDirectory(path)) != nil else { return [] }
        return obsolete
    }
}
