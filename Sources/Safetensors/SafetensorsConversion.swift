import Tensors

extension SafetensorsElementType {
    /// Writes the little-endian entries at `offset` to `row`, a tensor of one row, as fp32. Only for readable types.
    func convert(_ bytes: RawSpan, fromByteOffset offset: Int, into row: Tensor) {
        var target = row.mutableSpan
        let source = bytes.extracting(offset..<offset + target.count * sizeBits / 8)
        switch self {
        case .float32:
            for index in target.indices {
                let bits = source.unsafeLoadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)
                target[index] = Float(bitPattern: UInt32(littleEndian: bits))
            }
        case .bfloat16:
            for index in target.indices {
                let bits = source.unsafeLoadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)
                target[index] = Float(bitPattern: UInt32(UInt16(littleEndian: bits)) << 16)
            }
        case .float16:
            for index in target.indices {
                let bits = source.unsafeLoadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)
                target[index] = Float(Float16(bitPattern: UInt16(littleEndian: bits)))
            }
        default:
            preconditionFailure("\(rawValue) is not readable")
        }
    }
}
