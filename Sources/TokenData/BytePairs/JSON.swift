/// A JSON value. Strings are bytes of UTF-8: Swift's compare by canonical equivalence, but different tokens may be equivalent.
indirect enum JSON: Equatable {
    case null
    case bool(Bool)
    /// Only numbers without fraction and exponent that fit are integers.
    case integer(Int)
    case number(Double)
    case string([UInt8])
    case array([JSON])
    /// In the order of the text; a name may come twice.
    case object([Member])

    struct Member: Equatable {
        let name: [UInt8]
        let value: JSON
    }

    /// What is no JSON.
    struct SyntaxError: Error {
        let position: Int
        let reason: String
    }

    /// - Throws: `SyntaxError`, also for values nested deeper than 64.
    init(parsing text: UnsafeBufferPointer<UInt8>) throws(SyntaxError) {
        var parser = JSONParser(text: text)
        self = try parser.document()
    }

    /// The value of `name`, the last one; nil for what is no object or lacks it, and for null.
    subscript(name: String) -> JSON? {
        guard case .object(let members) = self, let member = members.last(where: { $0.name.elementsEqual(name.utf8) })
        else { return nil }
        return member.value == .null ? nil : member.value
    }

    var string: String? {
        if case .string(let bytes) = self { String(decoding: bytes, as: UTF8.self) } else { nil }
    }
}

/// Reads RFC 8259's grammar, without recursion deeper than `maximumDepth`.
private struct JSONParser {
    private static let maximumDepth = 64

    let text: UnsafeBufferPointer<UInt8>
    var position = 0

    init(text: UnsafeBufferPointer<UInt8>) { self.text = text }

    private var next: UInt8? { position < text.count ? text[position] : nil }

    private func failure(_ reason: String) -> JSON.SyntaxError { JSON.SyntaxError(position: position, reason: reason) }

    /// When the text ends early, that is what is wrong with it.
    private func unexpected(_ wanted: String) -> JSON.SyntaxError {
        failure(next == nil ? "it ends in the middle" : "\(wanted) is expected")
    }

    mutating func document() throws(JSON.SyntaxError) -> JSON {
        let value = try value(depth: 0)
        skipSpace()
        guard next == nil else { throw failure("something follows the end of the value") }
        return value
    }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        position += 1
        return true
    }

    private mutating func value(depth: Int) throws(JSON.SyntaxError) -> JSON {
        guard depth < Self.maximumDepth else { throw failure("values are nested deeper than \(Self.maximumDepth)") }
        skipSpace()
        guard let byte = next else { throw unexpected("a value") }
        switch byte {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw unexpected("a value")
        }
    }

    private mutating func word(_ word: String, _ value: JSON) throws(JSON.SyntaxError) -> JSON {
        for byte in word.utf8 { guard take(byte) else { throw unexpected(word) } }
        return value
    }

    private mutating func object(depth: Int) throws(JSON.SyntaxError) -> JSON {
        position += 1
        var members = [JSON.Member]()
        skipSpace()
        if take(UInt8(ascii: "}")) { return .object(members) }
        while true {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw unexpected("a name") }
            let name = try string()
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw unexpected("\":\"") }
            members.append(JSON.Member(name: name, value: try value(depth: depth + 1)))
            skipSpace()
            if take(UInt8(ascii: "}")) { return .object(members) }
            guard take(UInt8(ascii: ",")) else { throw unexpected("\",\" or \"}\"") }
        }
    }

    private mutating func array(depth: Int) throws(JSON.SyntaxError) -> JSON {
        position += 1
        var values = [JSON]()
        skipSpace()
        if take(UInt8(ascii: "]")) { return .array(values) }
        while true {
            values.append(try value(depth: depth + 1))
            skipSpace()
            if take(UInt8(ascii: "]")) { return .array(values) }
            guard take(UInt8(ascii: ",")) else { throw unexpected("\",\" or \"]\"") }
        }
    }

    private mutating func number() throws(JSON.SyntaxError) -> JSON {
        let start = position
        func digits() throws(JSON.SyntaxError) {
            guard let byte = next, byte >= 0x30, byte <= 0x39 else { throw unexpected("a digit") }
            while let byte = next, byte >= 0x30, byte <= 0x39 { position += 1 }
        }
        _ = take(UInt8(ascii: "-"))
        if !take(UInt8(ascii: "0")) { try digits() }
        var isInteger = true
        if take(UInt8(ascii: ".")) {
            isInteger = false
            try digits()
        }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            isInteger = false
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            try digits()
        }
        let digits = String(decoding: text[start..<position], as: UTF8.self)
        if isInteger, let integer = Int(digits) { return .integer(integer) }
        return .number(Double(digits) ?? .infinity)
    }

    private mutating func string() throws(JSON.SyntaxError) -> [UInt8] {
        position += 1
        var bytes = [UInt8]()
        while let byte = next {
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return bytes
            case UInt8(ascii: "\\"): try escape(&bytes)
            case 0..<0x20:
                position -= 1
                throw failure("a control character is not escaped")
            default: bytes.append(byte)
            }
        }
        throw failure("it ends in the middle")
    }

    private mutating func escape(_ bytes: inout [UInt8]) throws(JSON.SyntaxError) {
        guard let byte = next else { throw failure("it ends in the middle") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(byte)
        case UInt8(ascii: "b"): bytes.append(0x08)
        case UInt8(ascii: "f"): bytes.append(0x0C)
        case UInt8(ascii: "n"): bytes.append(0x0A)
        case UInt8(ascii: "r"): bytes.append(0x0D)
        case UInt8(ascii: "t"): bytes.append(0x09)
        case UInt8(ascii: "u"):
            var value = try fourDigits()
            if value >> 10 == 0xD800 >> 10, take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) {
                let low = try fourDigits()
                guard low >> 10 == 0xDC00 >> 10 else { throw failure("half of a surrogate pair stands alone") }
                value = 0x10000 + (value - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(value) else { throw failure("half of a surrogate pair stands alone") }
            bytes.append(contentsOf: UTF8.encode(scalar)!)
        default:
            position -= 1
            throw failure("no such escape")
        }
    }

    private mutating func fourDigits() throws(JSON.SyntaxError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
                throw unexpected("a hexadecimal digit")
            }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }
}
