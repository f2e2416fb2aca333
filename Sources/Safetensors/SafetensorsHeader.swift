import Foundation

/// What a safetensors file says of its tensors: where each lies, in which type and shape. Checked whole: entries neither
/// overlap nor leave gaps, and fill the file to its end.
///
/// Format: https://github.com/huggingface/safetensors#format
public struct SafetensorsHeader: Sendable, Equatable {
    /// One tensor of the file.
    public struct Entry: Sendable, Equatable {
        public let name: String
        public let elementType: SafetensorsElementType
        public let shape: [Int]
        /// Bytes after the header.
        public let bytes: Range<Int>
    }

    /// The largest header that is read, as the format's own implementation has it.
    public static let limitBytes = 100_000_000

    /// The tensors by position in the file.
    public let entries: [Entry]
    /// Free text by key, for example `format`: `pt`.
    public let metadata: [String: String]

    /// - Parameters:
    ///   - json: the header without its length.
    ///   - dataBytes: how many bytes follow it.
    ///   - file: for messages.
    init(json: Data, dataBytes: Int, file: String) throws(SafetensorsError) {
        guard json.first == UInt8(ascii: "{") else {
            throw SafetensorsError(file: file, cause: .headerNotJSON("it does not begin with \"{\""))
        }
        let raw: RawHeader
        do {
            raw = try JSONDecoder().decode(RawHeader.self, from: json)
        } catch {
            throw SafetensorsError(file: file, cause: .headerNotJSON(DecodingError.reason(error)))
        }
        metadata = raw.metadata
        var entries = [Entry]()
        entries.reserveCapacity(raw.tensors.count)
        for (name, tensor) in raw.tensors {
            do throws(SafetensorsError.Cause) {
                entries.append(try Self.entry(name, tensor))
            } catch {
                throw SafetensorsError(file: file, tensor: name, cause: error)
            }
        }
        // Tensors without entries may share their position with another one.
        entries.sort {
            ($0.bytes.lowerBound, $0.bytes.upperBound, $0.name) < ($1.bytes.lowerBound, $1.bytes.upperBound, $1.name)
        }
        var end = 0
        for entry in entries {
            let begin = entry.bytes.lowerBound
            guard begin == end else {
                let cause: SafetensorsError.Cause =
                    begin < end ? .overlap(begin: begin, previousEnd: end) : .gap(begin: begin, previousEnd: end)
                throw SafetensorsError(file: file, tensor: entry.name, cause: cause)
            }
            end = entry.bytes.upperBound
        }
        guard end == dataBytes else {
            throw SafetensorsError(file: file, cause: .dataSizeDiffers(expectedBytes: end, actualBytes: dataBytes))
        }
        self.entries = entries
    }

    private static func entry(_ name: String, _ raw: RawHeader.Tensor) throws(SafetensorsError.Cause) -> Entry {
        guard let type = SafetensorsElementType(rawValue: raw.dtype) else { throw .unknownElementType(raw.dtype) }
        guard raw.offsets.count == 2, raw.offsets[0] >= 0, raw.offsets[0] <= raw.offsets[1] else {
            throw .invalidOffsets(raw.offsets)
        }
        var bits = type.sizeBits
        for extent in raw.shape {
            let (product, overflow) = bits.multipliedReportingOverflow(by: extent)
            guard extent >= 0, !overflow else { throw .invalidShape(raw.shape) }
            bits = product
        }
        let bytes = raw.offsets[0]..<raw.offsets[1]
        guard bits % 8 == 0, bits / 8 == bytes.count else {
            throw .sizeDiffers(shape: raw.shape, elementType: type, bytes: bytes.count)
        }
        return Entry(name: name, elementType: type, shape: raw.shape, bytes: bytes)
    }
}

/// The header as its JSON has it. A name that occurs twice keeps one of its places; the other is then a gap.
struct RawHeader: Codable {
    struct Tensor: Codable {
        var dtype: String
        var shape: [Int]
        var offsets: [Int]

        enum CodingKeys: String, CodingKey {
            case dtype, shape
            case offsets = "data_offsets"
        }
    }

    struct Name: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
        static let metadata = Name(stringValue: "__metadata__")
    }

    var metadata: [String: String]
    var tensors: [String: Tensor]

    init(metadata: [String: String], tensors: [String: Tensor]) {
        self.metadata = metadata
        self.tensors = tensors
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Name.self)
        metadata = try container.decodeIfPresent([String: String].self, forKey: .metadata) ?? [:]
        tensors = [:]
        for key in container.allKeys where key.stringValue != Name.metadata.stringValue {
            tensors[key.stringValue] = try container.decode(Tensor.self, forKey: key)
        }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Name.self)
        if !metadata.isEmpty { try container.encode(metadata, forKey: .metadata) }
        for (name, tensor) in tensors { try container.encode(tensor, forKey: Name(stringValue: name)) }
    }
}
