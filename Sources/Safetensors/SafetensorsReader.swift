import Foundation
import Tensors

/// An open safetensors file. Its header is read and checked at once, data when asked for, and of that only what is asked.
///
/// Data is read, not mapped: a mapped file that another process cuts short would kill this one with SIGBUS.
public final class SafetensorsReader {
    public let path: String
    public let header: SafetensorsHeader
    private let entriesByName: [String: SafetensorsHeader.Entry]
    /// Nil: it is among `files`.
    private let handle: FileHandle?
    private let files: OpenFiles?
    private let fileBytes: Int
    private let dataOffset: Int

    /// Opens the file and checks its header.
    /// - Parameter files: of many files, those that were read last; nil: this one stays open.
    public init(path: String, among files: OpenFiles? = nil) throws(SafetensorsError) {
        self.path = path
        self.files = files
        do {
            let (handle, fileBytes) = try Self.open(path)
            self.handle = files == nil ? handle : nil
            self.fileBytes = fileBytes
            let length = try Self.read(handle, at: 0, count: min(8, fileBytes), file: path)
            guard length.count == 8 else { throw SafetensorsError(file: path, cause: .noHeader(fileBytes: fileBytes)) }
            let headerBytes = length.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            guard headerBytes <= SafetensorsHeader.limitBytes else {
                let cause = SafetensorsError.Cause.headerTooLarge(
                    bytes: headerBytes, limit: SafetensorsHeader.limitBytes)
                throw SafetensorsError(file: path, cause: cause)
            }
            dataOffset = 8 + Int(headerBytes)
            guard dataOffset <= fileBytes else {
                let cause = SafetensorsError.Cause.headerPastEnd(headerBytes: dataOffset - 8, fileBytes: fileBytes)
                throw SafetensorsError(file: path, cause: cause)
            }
            let json = try Self.read(handle, at: 8, count: dataOffset - 8, file: path)
            header = try SafetensorsHeader(json: json, dataBytes: fileBytes - dataOffset, file: path)
        } catch let error as SafetensorsError {
            throw error
        } catch {
            throw SafetensorsError(file: path, cause: .system(error))
        }
        entriesByName = Dictionary(header.entries.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    private static func open(_ path: String) throws(SafetensorsError) -> (FileHandle, bytes: Int) {
        // Without waiting: opening a pipe would otherwise wait for a writer.
        let descriptor = Foundation.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw SafetensorsError(file: path, cause: .lastSystemError()) }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw SafetensorsError(file: path, cause: .lastSystemError()) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw SafetensorsError(file: path, cause: .notRegularFile) }
        return (handle, Int(status.st_size))
    }

    /// The file, as long as it was when its header was read.
    private func opened(tensor: String) throws(SafetensorsError) -> FileHandle {
        if let handle = handle ?? files?[path] { return handle }
        let (handle, bytes) = try Self.open(path)
        guard bytes == fileBytes else {
            throw SafetensorsError(file: path, tensor: tensor, cause: .truncatedWhileReading)
        }
        files?.add(handle, path: path)
        return handle
    }

    /// The tensor's description; nil when the file does not have it.
    public func entry(_ name: String) -> SafetensorsHeader.Entry? { entriesByName[name] }

    /// The whole tensor as a matrix: the last extent counts the columns, the others together the rows.
    public func read(_ name: String) throws(SafetensorsError) -> Tensor {
        let entry = try readable(name)
        let (rows, columns) = entry.matrixShape
        let result = Tensor(rows: rows, columns: columns)
        try read(name, rows: 0..<rows, columns: 0..<columns, into: result)
        return result
    }

    /// Reads the block `rows` × `columns` of the tensor as `read(_:)` shapes it, and not much more than the block's
    /// own bytes, into `destination` of the block's shape.
    public func read(
        _ name: String, rows: Range<Int>, columns: Range<Int>, into destination: Tensor
    ) throws(SafetensorsError) {
        let entry = try readable(name)
        let shape = entry.matrixShape
        precondition(
            rows.lowerBound >= 0 && rows.upperBound <= shape.rows && columns.lowerBound >= 0
                && columns.upperBound <= shape.columns, "the block lies outside of the tensor")
        precondition(destination.rows == rows.count && destination.columns == columns.count, "shapes differ")
        guard destination.count > 0 else { return }

        let entryBytes = entry.elementType.sizeBits / 8
        let rowBytes = shape.columns * entryBytes
        let blockBytes = columns.count * entryBytes
        // A small gap is cheaper to read than to step over.
        let isRowByRow = rowBytes - blockBytes >= Self.smallestSkippedGapBytes
        let chunkRows = isRowByRow ? 1 : max(1, Self.chunkBytes / rowBytes)
        let first = dataOffset + entry.bytes.lowerBound + columns.lowerBound * entryBytes
        let handle = try opened(tensor: name)
        var row = rows.lowerBound
        while row < rows.upperBound {
            let count = min(chunkRows, rows.upperBound - row)
            let data: Data
            do {
                data = try Self.read(
                    handle, at: first + row * rowBytes, count: (count - 1) * rowBytes + blockBytes, file: path,
                    tensor: name)
            } catch let error as SafetensorsError {
                throw error
            } catch {
                throw SafetensorsError(file: path, tensor: name, cause: .system(error))
            }
            for index in 0..<count {
                let target = destination.rows(row - rows.lowerBound + index..<row - rows.lowerBound + index + 1)
                entry.elementType.convert(data.bytes, fromByteOffset: index * rowBytes, into: target)
            }
            row += count
        }
    }

    private static let chunkBytes = 4 << 20
    private static let smallestSkippedGapBytes = 16 << 10

    private func readable(_ name: String) throws(SafetensorsError) -> SafetensorsHeader.Entry {
        guard let entry = entriesByName[name] else {
            throw SafetensorsError(file: path, tensor: name, cause: .missing)
        }
        guard entry.elementType.isReadable else {
            throw SafetensorsError(file: path, tensor: name, cause: .unreadableElementType(entry.elementType))
        }
        return entry
    }

    private static func read(
        _ handle: FileHandle, at offset: Int, count: Int, file: String, tensor: String? = nil
    ) throws -> Data {
        guard count > 0 else { return Data() }
        try handle.seek(toOffset: UInt64(offset))
        let data = try handle.read(upToCount: count) ?? Data()
        guard data.count == count else {
            throw SafetensorsError(file: file, tensor: tensor, cause: .truncatedWhileReading)
        }
        return data
    }
}

extension SafetensorsHeader.Entry {
    /// Rows and columns of the tensor as a matrix.
    public var matrixShape: (rows: Int, columns: Int) {
        (shape.dropLast().reduce(1, *), shape.last ?? 1)
    }
}
