import Crypto
import Foundation

/// A key that the coordinator and its clients share: 32 random bytes in a file that only its owner may read.
public struct ControlKey: Sendable, Equatable {
    public static let sizeBytes = 32

    package let bytes: SymmetricKey

    /// - Throws: `unusable_key_file` with what to do about it.
    public init(file: String) throws(ControlError) {
        let content: SmallFile
        do throws(SmallFile.Failure) {
            content = try SmallFile(file, limit: Self.sizeBytes + 1)
        } catch {
            switch error {
            case .unreadable(let reason): throw .keyFile(file, "cannot be read: \(reason)")
            case .notRegular: throw .keyFile(file, "is no file; make a key with moe-ctl key generate FILE")
            }
        }
        if let mode = content.modeForOthers {
            throw .keyFile(
                file, "may be read or written by others than its owner (mode \(mode)); run chmod 600, or make a new key"
            )
        }
        let count = content.bytes.count
        guard count == Self.sizeBytes else {
            let size = count > Self.sizeBytes ? "more than \(Self.sizeBytes)" : "\(count)"
            throw .keyFile(
                file, "has \(size) bytes, but a key has \(Self.sizeBytes); make one with moe-ctl key generate FILE")
        }
        bytes = SymmetricKey(data: content.bytes)
    }

    /// Writes a new key to `file`, which must not be there yet.
    /// - Throws: `unusable_key_file`.
    public static func generate(file: String) throws(ControlError) {
        let descriptor = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            guard errno != EEXIST else {
                throw .keyFile(file, "is there already, and no key is overwritten; name another file")
            }
            throw .keyFile(file, "cannot be written: \(String(cString: strerror(errno)))")
        }
        let key = SymmetricKey(size: .bits256)
        let isWritten = key.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) == $0.count }
        // Before somebody is told that there is a key, it has to be on the disk.
        let isDurable = isWritten && fsync(descriptor) == 0
        let cause = errno
        close(descriptor)
        guard isDurable else {
            unlink(file)
            throw .keyFile(file, "cannot be written: \(String(cString: strerror(cause)))")
        }
    }
}

/// Not even a message for debugging shows a key.
extension ControlKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "a key of \(Self.sizeBytes) bytes" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: [:]) }
}

extension ControlError {
    fileprivate static func keyFile(_ file: String, _ reason: String) -> ControlError {
        ControlError(.unusableKeyFile, "the key file \(file) \(reason)")
    }
}
