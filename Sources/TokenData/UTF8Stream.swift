/// Makes valid UTF-8 of bytes that come piece by piece: what may be the beginning of a character is held back until it is whole,
/// and what is none becomes U+FFFD.
public struct UTF8Stream: Sendable {
    /// The beginning of a character.
    private var held: [UInt8] = []

    public init() {}

    /// What can be told after `bytes` have come.
    public mutating func append(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        held.append(contentsOf: bytes)
        let whole = held.count - Self.beginning(at: held)
        let result = Array(String(decoding: held[..<whole], as: UTF8.self).utf8)
        held.removeFirst(whole)
        return result
    }

    /// What is left when nothing more comes.
    public mutating func finish() -> [UInt8] {
        defer { held = [] }
        return Array(String(decoding: held, as: UTF8.self).utf8)
    }

    /// How many bytes at the end are the beginning of a character that others may complete.
    private static func beginning(at bytes: [UInt8]) -> Int {
        for length in 1...3 where length <= bytes.count {
            let lead = bytes[bytes.count - length]
            if lead & 0xC0 == 0x80 { continue }
            // The second byte's bounds leave out overlong forms, surrogates and what is beyond U+10FFFF.
            let (whole, second): (Int, ClosedRange<UInt8>) =
                switch lead {
                case 0xC2...0xDF: (2, 0x80...0xBF)
                case 0xE0: (3, 0xA0...0xBF)
                case 0xED: (3, 0x80...0x9F)
                case 0xE1...0xEF: (3, 0x80...0xBF)
                case 0xF0: (4, 0x90...0xBF)
                case 0xF1...0xF3: (4, 0x80...0xBF)
                case 0xF4: (4, 0x80...0x8F)
                default: (1, 0x80...0xBF)
                }
            let isOpen = length < whole && (length == 1 || second.contains(bytes[bytes.count - length + 1]))
            return isOpen ? length : 0
        }
        return 0
    }
}
