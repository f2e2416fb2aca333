import Foundation
import Tensors

/// Where a writer's bytes go.
public protocol SafetensorsOutput: AnyObject {
    /// For messages.
    var path: String { get }
    /// Takes the next bytes.
    func write(_ bytes: RawSpan) throws(SafetensorsError)
    /// Returns when the file is on the disk.
    func finish() throws(SafetensorsError)
}

/// Writes a safetensors file of fp32 tensors one after the other: names and shapes are known at the start, data comes in
/// that order. The same tensors give the same bytes.
public final class SafetensorsWriter {
    public var path: String { output.path }
    private let tensors: [(name: String, shape: [Int])]
    private let output: any SafetensorsOutput
    private var written = 0

    /// Writes the header.
    /// - Parameter metadata: `format` says which library's tensors they are; transformers demands `pt`.
    public init(
        to output: any SafetensorsOutput, tensors: [(name: String, shape: [Int])],
        metadata: [String: String] = ["format": "pt"]
    ) throws(SafetensorsError) {
        self.output = output
        self.tensors = tensors
        try output.write(Self.header(tensors, metadata: metadata, file: output.path).bytes)
    }

    /// Creates the file, or empties it, and writes the header.
    public convenience init(
        path: String, tensors: [(name: String, shape: [Int])], metadata: [String: String] = ["format": "pt"]
    ) throws(SafetensorsError) {
        try self.init(to: SafetensorsFile(path: path), tensors: tensors, metadata: metadata)
    }

    /// Appends the next tensor, whose entries lie without gaps.
    public func write(_ name: String, _ values: Tensor) throws(SafetensorsError) {
        guard written < tensors.count, tensors[written].name == name else {
            let expected = written < tensors.count ? tensors[written].name : nil
            throw SafetensorsError(file: path, tensor: name, cause: .outOfOrder(expected: expected))
        }
        let shape = tensors[written].shape
        guard values.count == shape.reduce(1, *) else {
            throw SafetensorsError(
                file: path, tensor: name,
                cause: .shapeDiffers(expected: shape, actual: [values.rows, values.columns]))
        }
        do {
            try write(values)
        } catch {
            throw SafetensorsError(file: path, tensor: name, cause: error.cause)
        }
        written += 1
    }

    private func write(_ values: Tensor) throws(SafetensorsError) {
        let span = values.span
        #if _endian(little)
            try output.write(span.bytes)
        #else
            var position = 0
            while position < span.count {
                let part = span.extracting(position..<min(position + Self.chunkEntries, span.count))
                try output.write(Self.littleEndian(part).bytes)
                position += part.count
            }
        #endif
    }

    /// Checks that every tensor came, and returns when the file is on the disk.
    public func finish() throws(SafetensorsError) {
        guard written == tensors.count else {
            throw SafetensorsError(file: path, tensor: tensors[written].name, cause: .notWritten)
        }
        try output.finish()
    }

    #if !_endian(little)
        private static let chunkEntries = 1 << 20

        private static func littleEndian(_ values: Span<Float>) -> Data {
            var data = Data(count: 4 * values.count)
            var bytes = data.mutableBytes
            for index in values.indices {
                bytes.storeBytes(of: values[index].bitPattern.littleEndian, toByteOffset: 4 * index, as: UInt32.self)
            }
            return data
        }
    #endif

    /// Length and JSON, padded with spaces so that the data begins at a multiple of 8 bytes.
    private static func header(
        _ tensors: [(name: String, shape: [Int])], metadata: [String: String], file: String
    ) throws(SafetensorsError) -> Data {
        var raw = RawHeader(metadata: metadata, tensors: [:])
        var position = 0
        for (name, shape) in tensors {
            guard raw.tensors[name] == nil, name != RawHeader.Name.metadata.stringValue else {
                throw SafetensorsError(file: file, tensor: name, cause: .duplicate)
            }
            var bytes = 4
            for extent in shape {
                let (product, overflow) = bytes.multipliedReportingOverflow(by: extent)
                guard extent >= 0, !overflow else {
                    throw SafetensorsError(file: file, tensor: name, cause: .invalidShape(shape))
                }
                bytes = product
            }
            let (end, overflow) = position.addingReportingOverflow(bytes)
            guard !overflow else { throw SafetensorsError(file: file, tensor: name, cause: .invalidShape(shape)) }
            raw.tensors[name] = .init(
                dtype: SafetensorsElementType.float32.rawValue, shape: shape, offsets: [position, end])
            position = end
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var json: Data
        do {
            json = try encoder.encode(raw)
        } catch {
            throw SafetensorsError(file: file, cause: .headerNotJSON("\(error)"))
        }
        json.append(contentsOf: repeatElement(UInt8(ascii: " "), count: (8 - json.count % 8) % 8))
        guard json.count <= SafetensorsHeader.limitBytes else {
            let cause = SafetensorsError.Cause.headerTooLarge(
                bytes: UInt64(json.count), limit: SafetensorsHeader.limitBytes)
            throw SafetensorsError(file: file, cause: cause)
        }
        let length = (0..<8).map { UInt8(truncatingIfNeeded: json.count >> (8 * $0)) }
        return Data(length) + json
    }
}
