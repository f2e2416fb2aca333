import Foundation
import Glibc

/// A CSV file with a row for each step, in their order, below one line with the names of the columns.
final class StepTable {
    private static let header = (["step"] + StepQuantity.all.map(\.column)).joined(separator: ",") + "\n"

    private let path: String
    private var file: FileHandle
    /// Terminals and pipes are written to and not looked into.
    private let isRegular: Bool

    /// Opens the file, or makes it.
    /// - Throws: `WorkerError` when it cannot be opened, or holds something else.
    init(path: String) throws {
        self.path = path
        file = try Self.open(path)
        var status = stat()
        isRegular = fstat(file.fileDescriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
        _ = try endOfRows(upTo: 0)
    }

    /// Prepares for the rows of the steps after `completedSteps`. Rows that are there of such steps go, because they are done again;
    /// with a run that begins anew the old file goes to another name.
    func begin(after completedSteps: Int) throws {
        var end = try endOfRows(upTo: completedSteps)
        if completedSteps == 0, try endOfRows(upTo: .max) > end {
            try setAside()
            end = 0
        }
        if isRegular, ftruncate(file.fileDescriptor, off_t(end)) != 0 { throw failure(errno) }
        if end == 0 { try write(Self.header) }
    }

    func append(_ metrics: StepMetrics) throws {
        let cells = StepQuantity.all.map { $0.value(metrics).map(Self.text) ?? "" }
        try write((["\(metrics.step)"] + cells).joined(separator: ",") + "\n")
    }

    /// The shortest text with the same value; whole numbers without a fraction.
    private static func text(_ number: Double) -> String {
        Int(exactly: number).map { "\($0)" } ?? "\(number)"
    }

    /// Bytes up to the end of the last row of a step up to `step`; 0 when not even the header is whole. A row that was cut short
    /// does not count.
    private func endOfRows(upTo step: Int) throws -> Int {
        guard isRegular else { return 0 }
        let text = try Data(contentsOf: URL(fileURLWithPath: path))
        let header = Data(Self.header.utf8)
        guard text.starts(with: header) else {
            guard header.starts(with: text) else {
                throw WorkerError.failed(
                    "\(path) is no table of this version's columns; choose another file for --csv, or remove it")
            }
            return 0
        }
        var end = header.count
        while let lineEnd = text[end...].firstIndex(of: 0x0A) {
            guard let rowStep = Int(String(decoding: text[end..<lineEnd].prefix { $0 != 0x2C }, as: UTF8.self)) else {
                throw WorkerError.failed(
                    "\(path), byte \(end): a row without a step; choose another file for --csv, or remove it")
            }
            if rowStep > step { break }
            end = lineEnd + 1
        }
        return end
    }

    private func setAside() throws {
        guard rename(path, path + ".old") == 0 else { throw failure(errno) }
        file = try Self.open(path)
    }

    private static func open(_ path: String) throws -> FileHandle {
        let descriptor = Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw WorkerError.failed("cannot open \(path): \(String(cString: strerror(errno))); check --csv")
        }
        return FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    }

    /// At once, past any buffer.
    private func write(_ text: String) throws {
        do {
            try file.write(contentsOf: Data(text.utf8))
        } catch {
            throw WorkerError.failed("cannot write to \(path): \(error.localizedDescription); check --csv")
        }
    }

    private func failure(_ code: Int32) -> WorkerError {
        .failed("cannot change \(path): \(String(cString: strerror(code))); check --csv")
    }
}
