/// Reads JSON of the plain form that programs write: strings of printable ASCII without escapes, integers of at most 18 digits,
/// finite numbers. Whatever else is there is "nil": a general decoder has to look at it.
struct PlainJSON {
    private let bytes: [UInt8]
    private var index = 0

    init(_ bytes: some Sequence<UInt8>) {
        self.bytes = Array(bytes)
    }

    /// Whether nothing but white space is left.
    mutating func isAtEnd() -> Bool {
        skipSpace()
        return index == bytes.count
    }

    /// Calls `body` for each member of an object, which has to read its value.
    /// - Parameter body: false when it could not.
    mutating func object(_ body: (String, inout PlainJSON) -> Bool) -> Bool {
        guard take("{") else { return false }
        if take("}") { return true }
        repeat {
            guard let key = string(), take(":"), body(key, &self) else { return false }
        } while take(",")
        return take("}")
    }

    mutating func array<Element>(_ element: (inout PlainJSON) -> Element?) -> [Element]? {
        guard take("[") else { return nil }
        if take("]") { return [] }
        var elements = [Element]()
        repeat {
            guard let next = element(&self) else { return nil }
            elements.append(next)
        } while take(",")
        return take("]") ? elements : nil
    }

    mutating func string() -> String? {
        guard take("\"") else { return nil }
        let start = index
        while index < bytes.count, bytes[index] != UInt8(ascii: "\"") {
            guard 0x20...0x7E ~= bytes[index], bytes[index] != UInt8(ascii: "\\") else { return nil }
            index += 1
        }
        guard index < bytes.count else { return nil }
        defer { index += 1 }
        return String(decoding: bytes[start..<index], as: UTF8.self)
    }

    mutating func integer() -> Int? {
        guard let digits = numberText(), digits.count <= 18,
            digits.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }), isPlain(digits)
        else { return nil }
        return digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
    }

    mutating func number() -> Double? {
        guard let text = numberText(), isNumber(text) else { return nil }
        guard let value = Double(String(decoding: text, as: UTF8.self)), value.isNormal || value == 0 else {
            return nil
        }
        // What is too small for a number, others may refuse.
        return value == 0 && text.contains(where: { UInt8(ascii: "1")...UInt8(ascii: "9") ~= $0 }) ? nil : value
    }

    /// RFC 8259, section 6, without a sign: no zeros in front, digits around the point and in the exponent.
    private func isNumber(_ text: ArraySlice<UInt8>) -> Bool {
        var rest = text
        func takeDigits() -> Int {
            let count = rest.prefix { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }.count
            rest = rest.dropFirst(count)
            return count
        }
        let whole = takeDigits()
        guard whole > 0, isPlain(text.prefix(whole)) else { return false }
        if rest.first == UInt8(ascii: ".") {
            rest = rest.dropFirst()
            guard takeDigits() > 0 else { return false }
        }
        if let exponent = rest.first, exponent | 0x20 == UInt8(ascii: "e") {
            rest = rest.dropFirst()
            if rest.first == UInt8(ascii: "-") || rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
            guard takeDigits() > 0 else { return false }
        }
        return rest.isEmpty
    }

    private func isPlain(_ digits: ArraySlice<UInt8>) -> Bool {
        !digits.isEmpty && (digits.count == 1 || digits.first != UInt8(ascii: "0"))
    }

    private mutating func numberText() -> ArraySlice<UInt8>? {
        skipSpace()
        let start = index
        while index < bytes.count, Self.isOfNumber(bytes[index]) { index += 1 }
        return index > start ? bytes[start..<index] : nil
    }

    private static func isOfNumber(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"),
            UInt8(ascii: "-"), UInt8(ascii: "+"):
            true
        default: false
        }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        skipSpace()
        guard index < bytes.count, bytes[index] == UInt8(ascii: character) else { return false }
        index += 1
        return true
    }

    private mutating func skipSpace() {
        while index < bytes.count {
            switch bytes[index] {
            case 0x20, 0x0A, 0x0D, 0x09: index += 1
            default: return
            }
        }
    }
}
