import Foundation

/// A file of a checkpoint, as its manifest lists it.
public struct CheckpointFile: Codable, Hashable, Sendable {
    /// In the checkpoint's directory.
    public let name: String
    public let bytes: Int
    /// Of all bytes, in hexadecimal digits.
    public let sha256: String

    public init(name: String, bytes: Int, sha256: String) {
        self.name = name
        self.bytes = bytes
        self.sha256 = sha256
    }
}

extension CheckpointFile {
    /// Reads the file in `directory` and holds it against what the manifest says.
    /// - Throws: `CheckpointError` that names the file.
    public func verify(in directory: String) throws {
        try read(in: directory) { _ in }
    }

    /// As `verify`, with a copy that is on the disk then.
    func copy(from directory: String, to target: String) throws {
        let copy = try HashedFile(directory: target, name: name)
        try read(in: directory) { try copy.write(bytes: $0) }
        try copy.finish()
        // Of what was read last, if it is another program's file by now.
        guard copy.entry == self else { throw damaged(in: directory, "it changed while it was copied") }
    }

    /// Hands all bytes to `take`, and compares their hash.
    private func read(in directory: String, _ take: (UnsafeRawBufferPointer) throws -> Void) throws {
        let path = "\(directory)/\(name)"
        let (descriptor, actualBytes) = try Disk.open(path)
        defer { close(descriptor) }
        guard actualBytes == bytes else {
            throw damaged(in: directory, "it has \(actualBytes) bytes instead of the \(bytes) that were written")
        }
        let hash = RunningHash()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.chunkBytes, alignment: 64)
        defer { buffer.deallocate() }
        while true {
            let count = Foundation.read(descriptor, buffer.baseAddress, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw CheckpointError.system(path) }
            if count == 0 { break }
            let chunk = UnsafeRawBufferPointer(rebasing: buffer[..<count])
            hash.update(chunk)
            try take(chunk)
        }
        guard hash.digest == sha256 else {
            throw damaged(in: directory, "its SHA-256 is not that of what was written")
        }
    }

    private func damaged(in directory: String, _ how: String) -> CheckpointError {
        CheckpointError(.damaged, "\(directory)/\(name)", "is damaged: \(how)")
    }

    private static let chunkBytes = 1 << 20
}
