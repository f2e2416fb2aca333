/// The characters that stand for bytes in the vocabularies of byte-level tokenizers (GPT-2's `bytes_to_unicode`): those that are
/// visible in Latin-1 for themselves, U+0100 and on for the others.
enum ByteAlphabet {
    static let scalars: [Unicode.Scalar] = {
        var next: UInt32 = 0x100
        return (UInt8.min...UInt8.max).map { byte in
            switch byte {
            case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return Unicode.Scalar(byte)
            default:
                defer { next += 1 }
                return Unicode.Scalar(next)!
            }
        }
    }()

    private static let bytes: [UInt32: UInt8] = Dictionary(
        uniqueKeysWithValues: scalars.enumerated().map { ($1.value, UInt8($0)) })

    /// The bytes that `token` stands for; nil when it has a character that stands for none.
    /// - Parameter token: UTF-8.
    static func bytes(of token: [UInt8]) -> [UInt8]? {
        var result = [UInt8]()
        result.reserveCapacity(token.count)
        for scalar in String(decoding: token, as: UTF8.self).unicodeScalars {
            guard let byte = bytes[scalar.value] else { return nil }
            result.append(byte)
        }
        return result
    }
}
