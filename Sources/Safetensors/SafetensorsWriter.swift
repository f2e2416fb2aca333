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

/// Writes a safetensors file of tensors one after the other: names, shapes and types are known at the start, data comes in
/// that order. The same tensors give the same bytes.
public final class SafetensorsWriter {
    public var path: String { output.path }
    private let tensors: [(name: String, shape: [Int])]
    private let elementTypes: [String: SafetensorsElementType]
    private let output: any SafetensorsOutput
    private var written = 0
    /// Of the next tensor.
    private var writtenEntries = 0

    /// Writes the header.
    /// - Parameters:
    ///   - elementTypes: of tensors that are not fp32, by name; of types that can be read.
    ///   - metadata: `format` says which library's tensors they are; transformers demands `pt`.
    public init(
        to output: any SafetensorsOutput, tensors: [(name: String, shape: [Int])],
        elementTypes: [String: SafetensorsElementType] = [:], metadata: [String: String] = ["format": "pt"]
    ) throws(SafetensorsError) {
        precondition(elementTypes.values.allSatisfy(\.isReadable), "only types that can be read can be written")
        self.output = output
        self.tensors = tensors
        self.elementTypes = elementTypes
        let header = try Self.header(tensors, elementTypes: elementTypes, metadata: metadata, file: output.path)
        try output.write(header.bytes)
    }

    /// Creates the file, or empties it, and writes the header.
    public convenience init(
        path: String, tensors: [(name: String, shape: [Int])], elementTypes: [String: SafetensorsElementType] = [:],
        metadata: [String: String] = ["format": "pt"]
    ) throws(SafetensorsError) {
        try self.init(
            to: SafetensorsFile(path: path), tensors: tensors, elementTypes: elementTypes, metadata: metadata)
    }

    /// Appends the next tensor, whose entries lie without gaps.
    public func write(_ name: String, _ values: Tensor) throws(SafetensorsError) {
        try check(name, values, isWhole: true)
        try append(values)
    }

    /// Appends the next entries, which lie without gaps, of the next tensor.
    public func write(_ name: String, part values: Tensor) throws(SafetensorsError) {
        try check(name, values, isWhole: false)
        try append(values)
    }

    private func check(_ name: String, _ values: Tensor, isWhole: Bool) throws(SafetensorsError) {
        guard written < tensors.count, tensors[written].name == name else {
            let expected = written < tensors.count ? tensors[written].name : nil
            throw SafetensorsError(file: path, tensor: name, cause: .outOfOrder(expected: expected))
        }
        let shape = tensors[written].shape
        let rest = shape.reduce(1, *) - writtenEntries
        guard isWhole ? writtenEntries == 0 && values.count == rest : values.count <= rest else {
            throw SafetensorsError(
                file: path, tensor: name,
                cause: .shapeDiffers(expected: shape, actual: [values.rows, values.columns]))
        }
    }

    private func append(_ values: Tensor) throws(SafetensorsError) {
        let (name, shape) = tensors[written]
        do {
            try write(values.span, as: elementTypes[name] ?? .float32)
        } catch {
            throw SafetensorsError(file: path, tensor: name, cause: error.cause)
        }
        writtenEntries += values.count
        guard writtenEntries == shape.reduce(1, *) else { return }
        written += 1
        writtenEntries = 0
    }

    private func write(_ values: Span<Float>, as type: SafetensorsElementType) throws(SafetensorsError) {
        #if _endian(little)
            if type == .float32 { return try output.write(values.bytes) }
        #endif
        var position = 0
        while position < values.count {
            let part = values.extracting(position..<min(position + Self.chunkEntries, values.count))
            try output.write(type.encoded(part).bytes)
            position += part.count
        }
    }

    private static let chunkEntries = 1 << 20

    /// Checks that every tensor came, and returns when the file is on the disk.
    public func finish() throws(SafetensorsError) {
        guard written == tensors.count else {
            throw SafetensorsError(file: path, tensor: tensors[written].name, cause: .notWritten)
        }
        try output.finish()
    }

    /// Length and JSON, padded with spaces so that the data begins at a multiple of 8 bytes.
    private static func header(
        _ tensors: [(name: String, shape: [Int])], elementTypes: [String: SafetensorsElementType],
        metadata: [String: String], file: String
    ) throws(SafetensorsError) -> Data {
        var raw = RawHeader(metadata: metadata, tensors: [:])
        var position = 0
        for (name, shape) in tensors {
            guard raw.tensors[name] == nil, name != RawHeader.Name.metadata.stringValue else {
                throw SafetensorsError(file: file, tensor: name, cause: .duplicate)
            }
            let type = elementTypes[name] ?? .float32
            var bytes = type.sizeBits / 8
            for extent in shape {
                let (product, overflow) = bytes.multipliedReportingOverflow(by: extent)
                guard extent >= 0, !overflow else {
                    throw SafetensorsError(file: file, tensor: name, cause: .invalidShape(shape))
                }
                bytes = product
            }
            let (end, overflow) = position.addingReportingOverflow(bytes)
            guard !overflow else { throw SafetensorsError(file: file, tensor: name, cause: .invalidShape(shape)) }
            raw.tensors[name] = .init(dtype: type.rawValue, shape: shape, offsets: [position, end])
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
