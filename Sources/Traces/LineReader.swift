import Foundation

/// The lines of a file, one after the other, each within a limit.
struct LineReader {
    let name: String
    /// Of the line read last, from 1.
    private(set) var number = 0
    private let handle: FileHandle
    private let limit: Int
    private var buffer = Data()
    private var isAtEnd = false

    private static let chunkBytes = 1 << 20
    private static let newline: UInt8 = 0x0A

    init(_ handle: FileHandle, name: String, limit: Int = TraceLimits.lineBytes) {
        self.handle = handle
        self.name = name
        self.limit = limit
    }

    /// The next line, without its end; nil at the end of the file.
    mutating func next() throws(TraceError) -> Data? {
        var searched = 0
        while true {
            let end = buffer.withUnsafeBytes { $0.dropFirst(searched).firstIndex(of: Self.newline) }
            if let end {
                let line = buffer.prefix(end)
                buffer = buffer.dropFirst(end + 1)
                try count()
                return line
            }
            searched = buffer.count
            if isAtEnd {
                guard !buffer.isEmpty else { return nil }
                defer { buffer = Data() }
                try count()
                return buffer
            }
            guard searched <= limit else {
                throw TraceError(
                    name, line: number + 1, "this line has more than \(limit) bytes", remedy: "is it the right file?")
            }
            try read()
        }
    }

    private mutating func read() throws(TraceError) {
        let chunk: Data
        do { chunk = try handle.read(upToCount: Self.chunkBytes) ?? Data() } catch {
            throw TraceError(name, "it cannot be read: \(error.localizedDescription)", remedy: "name a file that can")
        }
        isAtEnd = chunk.isEmpty
        // What was taken from the front goes with the old storage.
        buffer = buffer.isEmpty ? chunk : Data(buffer) + chunk
    }

    private mutating func count() throws(TraceError) {
        number += 1
        guard number <= TraceLimits.lines else {
            throw TraceError(name, "it has more than \(TraceLimits.lines) lines", remedy: "cut it into several files")
        }
    }
}
