import Foundation
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

    /// Finite fp32 values of this magnitude and above become infinite when they are rounded. Only for readable types.
    package var overflow: Float {
        switch self {
        case .float32: .infinity
        // Halfway from the largest number to the next that there would be.
        case .bfloat16: 0x1.FFp127
        case .float16: 65_520
        default: preconditionFailure("\(rawValue) is not writable")
        }
    }

    /// Little-endian entries of fp32 values, rounded to the nearest, of two as near to the even one. Only for readable types.
    func encoded(_ values: Span<Float>) -> Data {
        let entryBytes = sizeBits / 8
        var data = Data(count: entryBytes * values.count)
        var bytes = data.mutableBytes
        switch self {
        case .float32:
            for index in values.indices {
                bytes.storeBytes(of: values[index].bitPattern.littleEndian, toByteOffset: 4 * index, as: UInt32.self)
            }
        case .bfloat16:
            for index in values.indices {
                let bits = Self.bfloat16(values[index])
                bytes.storeBytes(of: bits.littleEndian, toByteOffset: 2 * index, as: UInt16.self)
            }
        case .float16:
            for index in values.indices {
                let bits = Float16(values[index]).bitPattern
                bytes.storeBytes(of: bits.littleEndian, toByteOffset: 2 * index, as: UInt16.self)
            }
        default:
            preconditionFailure("\(rawValue) is not writable")
        }
        return data
    }

    private static func bfloat16(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        // Rounding could make a number that is none infinite: a bit that is kept says what it is.
        if value.isNaN { return UInt16(bits >> 16) | 0x40 }
        return UInt16((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
    }
}
