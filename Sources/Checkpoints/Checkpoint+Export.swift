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
        let files = modelFiles
        try NewDirectory.make(target) { partial in
            for file in files { try file.copy(from: path, to: partial) }
        }
        return files
    }
}
