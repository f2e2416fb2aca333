import Foundation

/// A checkpoint that is there: `DIRECTORY/step-N`, with a manifest.
public struct Checkpoint: Sendable {
    public let path: String
    public let manifest: CheckpointManifest

    /// Reads the manifest; `verify` reads the files.
    /// - Throws: `CheckpointError` that names the file; also when the directory's name is that of another step.
    public init(path: String) throws(CheckpointError) {
        self.path = path
        manifest = try CheckpointManifest(directory: path)
        // A copy may have any other name.
        let step = CheckpointDirectory.step(ofName: URL(fileURLWithPath: path).lastPathComponent)
        guard step == nil || step == manifest.step else {
            throw CheckpointError(
                .damaged, "\(path)/\(CheckpointManifest.name)",
                "is of step \(manifest.step), which is not the directory's")
        }
    }

    /// Holds the files against the manifest, bit by bit.
    /// - Parameters:
    ///   - part: of `parts`: these ranks together read every file once.
    /// - Throws: `CheckpointError` that names the first file that is damaged.
    public func verify(part: Int = 0, of parts: Int = 1) throws {
        // The largest first, each to the part that has the least so far.
        var bytes = [Int](repeating: 0, count: parts)
        for file in manifest.files.sorted(by: { ($1.bytes, $0.name) < ($0.bytes, $1.name) }) {
            let least = bytes.indices.min { bytes[$0] < bytes[$1] } ?? 0
            bytes[least] += file.bytes
            if least == part { try file.verify(in: path) }
        }
    }
}
