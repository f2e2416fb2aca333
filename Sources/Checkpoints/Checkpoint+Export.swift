import Foundation

extension Checkpoint {
    /// What is Hugging Face's: all but the optimizer's state and the manifest.
    public var modelFiles: [CheckpointFile] {
        let optimizer = Set(
            (0..<manifest.worldSize).map { CheckpointManifest.optimizerFile(rank: $0, worldSize: manifest.worldSize) })
        return manifest.files.filter { !optimizer.contains($0.name) }
    }

    /// Copies the model's files to a new directory. The hashes are compared on the way, and the directory appears at once and
    /// whole.
    /// - Parameter target: must not be there.
    /// - Returns: the files copied.
    /// - Throws: `CheckpointError`; nothing is left behind then.
    public func export(to target: String) throws -> [CheckpointFile] {
        guard !Disk.exists(target) else { throw CheckpointError(.system, target, "is there already") }
        let url = URL(fileURLWithPath: target)
        let parent = url.deletingLastPathComponent().path
        let partial = "\(parent)/.\(url.lastPathComponent).\(UUID().uuidString).partial"
        let files = modelFiles
        try Disk.makeDirectory(partial)
        do {
            for file in files { try file.copy(from: path, to: partial) }
            try Disk.syncDirectory(partial)
            try Disk.move(partial, to: target)
            try Disk.syncDirectory(parent)
        } catch {
            try? Disk.removeDirectory(partial)
            throw error
        }
        return files
    }
}
