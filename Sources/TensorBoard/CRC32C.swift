/// The checksum CRC-32C (RFC 3720, section 12.1): Castagnoli's polynomial 0x1EDC6F41, bits reflected.
package enum CRC32C {
    /// Remainders of all bytes.
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { remainder, _ in remainder >> 1 ^ (remainder & 1 == 1 ? 0x82F6_3B78 : 0) }
    }

    package static func checksum(_ bytes: [UInt8]) -> UInt32 {
        let table = table
        return ~bytes.reduce(~0) { $0 >> 8 ^ table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] }
    }

    /// As files have it that hold checksums beside data (tensorflow/core/lib/hash/crc32c.h): rotated, plus a constant.
    static func masked(_ bytes: [UInt8]) -> UInt32 {
        let checksum = checksum(bytes)
        return (checksum >> 15 | checksum << 17) &+ 0xA282_EAD8
    }
}
