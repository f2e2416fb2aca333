/// A message in the wire format of protocol buffers (https://protobuf.dev/programming-guides/encoding), field by field.
struct ProtobufMessage {
    private(set) var bytes = [UInt8]()

    private enum WireType: UInt64 {
        case varint = 0
        case fixed64 = 1
        case lengthDelimited = 2
        case fixed32 = 5
    }

    mutating func add(_ field: Int, _ value: Int) {
        begin(field, .varint)
        addVarint(UInt64(bitPattern: Int64(value)))
    }

    mutating func add(_ field: Int, _ value: Double) {
        begin(field, .fixed64)
        bytes += value.bitPattern.littleEndianBytes
    }

    mutating func add(_ field: Int, _ value: Float) {
        begin(field, .fixed32)
        bytes += value.bitPattern.littleEndianBytes
    }

    mutating func add(_ field: Int, _ text: String) { add(field, bytes: Array(text.utf8)) }

    mutating func add(_ field: Int, _ message: ProtobufMessage) { add(field, bytes: message.bytes) }

    /// A packed repeated field.
    mutating func add(_ field: Int, _ values: [Double]) {
        add(field, bytes: values.flatMap(\.bitPattern.littleEndianBytes))
    }

    private mutating func add(_ field: Int, bytes value: [UInt8]) {
        begin(field, .lengthDelimited)
        addVarint(UInt64(value.count))
        bytes += value
    }

    private mutating func begin(_ field: Int, _ type: WireType) { addVarint(UInt64(field) << 3 | type.rawValue) }

    /// Seven bits a byte, the lowest first; the highest bit tells that there are more.
    private mutating func addVarint(_ value: UInt64) {
        var rest = value
        while rest > 0x7F {
            bytes.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}

extension FixedWidthInteger {
    var littleEndianBytes: [UInt8] { withUnsafeBytes(of: littleEndian, Array.init) }
}
