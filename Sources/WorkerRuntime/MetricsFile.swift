import Foundation

/// Appends a JSON line for each step.
public final class MetricsFile {
    private let handle: FileHandle
    private let path: String
    private let encoder = JSONEncoder()

    /// - Throws: `WorkerError` when the file cannot be opened for appending.
    public init(path: String) throws {
        let descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw WorkerError.failed(
                "cannot open the metrics file \(path): \(String(cString: strerror(errno))); check --metrics")
        }
        handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        self.path = path
        encoder.outputFormatting = [.sortedKeys]
    }

    public func append(_ metrics: StepMetrics) throws {
        do {
            try handle.write(contentsOf: encoder.encode(metrics) + Data([0x0a]))
        } catch {
            throw WorkerError.failed("cannot write to the metrics file \(path): \(error)")
        }
    }
}
