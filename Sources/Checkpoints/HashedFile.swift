import Crypto
import Dispatch
import Foundation
import Safetensors

/// A new file that is hashed while it is written, on another thread, and goes to the disk while the next bytes come.
public final class HashedFile: SafetensorsOutput {
    public let path: String
    private let name: String
    private var descriptor: Int32
    private var bytes = 0
    private let hash = RunningHash()

    /// Creates `DIRECTORY/NAME`, which must not be there.
    public init(directory: String, name: String) throws(CheckpointError) {
        self.name = name
        path = "\(directory)/\(name)"
        descriptor = try Disk.create(path)
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    public func write(_ span: RawSpan) throws(SafetensorsError) {
        do {
            try span.withUnsafeBytes { (all) throws(CheckpointError) in try write(bytes: all) }
        } catch {
            throw SafetensorsError(file: path, cause: .system(error.reason))
        }
    }

    func write(bytes: UnsafeRawBufferPointer) throws(CheckpointError) {
        var start = 0
        while start < bytes.count {
            let part = bytes[start..<min(start + Self.chunkBytes, bytes.count)]
            try write(chunk: UnsafeRawBufferPointer(rebasing: part))
            start = part.endIndex
        }
    }

    /// Large enough to make waiting for another thread cheap, small enough to stay in a cache.
    private static let chunkBytes = 2 << 20
    private static let smallestParallelBytes = 64 << 10

    private func write(chunk: UnsafeRawBufferPointer) throws(CheckpointError) {
        guard chunk.count >= Self.smallestParallelBytes else {
            hash.update(chunk)
            return try append(chunk)
        }
        hash.begin(chunk)
        // The memory is the caller's until the hash is done with it.
        defer { hash.finish() }
        try append(chunk)
    }

    private func append(_ chunk: UnsafeRawBufferPointer) throws(CheckpointError) {
        if bytes == 0 { Failpoint.reach() }
        try Disk.write(chunk, to: descriptor, path: path)
        // Lets the disk begin with these bytes, which nobody reads soon, so that little is left to wait for at the end. Only a
        // hint, so its result does not matter.
        _ = posix_fadvise(descriptor, off_t(bytes), off_t(chunk.count), POSIX_FADV_DONTNEED)
        bytes += chunk.count
    }

    public func finish() throws(SafetensorsError) {
        do throws(CheckpointError) {
            try Disk.sync(descriptor, path: path)
            guard close(descriptor) == 0 else {
                descriptor = -1
                throw .system(path)
            }
            descriptor = -1
        } catch {
            throw SafetensorsError(file: path, cause: .system(error.reason))
        }
    }

    /// What the manifest says of the file, once it is finished.
    public var entry: CheckpointFile { CheckpointFile(name: name, bytes: bytes, sha256: hash.digest) }

    /// Writes a small file as a whole.
    public static func write(_ data: Data, directory: String, name: String) throws -> CheckpointFile {
        let file = try HashedFile(directory: directory, name: name)
        try file.write(data.bytes)
        try file.finish()
        return file.entry
    }
}

/// A hash that another thread works on. `begin` hands it bytes, and `finish` waits until it is done with them, so that there is
/// one thread at a time.
package final class RunningHash: @unchecked Sendable {
    private var sha256 = SHA256()
    private let queue = DispatchQueue(label: "moe.checkpoint.hash")
    private let isDone = DispatchSemaphore(value: 0)

    package init() {}

    package func update(_ bytes: UnsafeRawBufferPointer) { sha256.update(bufferPointer: bytes) }

    func begin(_ bytes: UnsafeRawBufferPointer) {
        nonisolated(unsafe) let bytes = bytes
        queue.async { [self] in
            update(bytes)
            isDone.signal()
        }
    }

    func finish() { isDone.wait() }

    /// Of all bytes so far, in hexadecimal digits.
    package var digest: String {
        sha256.finalize().map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }
}
