import Foundation

/// A file, as a writer's output.
final class SafetensorsFile: SafetensorsOutput {
    let path: String
    private let handle: FileHandle

    /// Creates the file, or empties it.
    init(path: String) throws(SafetensorsError) {
        self.path = path
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw SafetensorsError(file: path, cause: .lastSystemError()) }
        handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    }

    func write(_ bytes: RawSpan) throws(SafetensorsError) {
        do {
            try bytes.withUnsafeBytes { bytes in
                try handle.write(contentsOf: UnsafeRawBufferPointer(bytes))
            }
        } catch {
            throw SafetensorsError(file: path, cause: .system(error))
        }
    }

    func finish() throws(SafetensorsError) {
        do {
            try handle.synchronize()
            try handle.close()
        } catch {
            throw SafetensorsError(file: path, cause: .system(error))
        }
    }
}
