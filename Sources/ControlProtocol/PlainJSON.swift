/// Reads JSON of the plain form that programs write: strings of printable ASCII without escapes, integers of at most 18 digits,
/// finite numbers. Whatever else is there is "nil": a general decoder has to look at it.
package struct PlainJSON {
    private let bytes: [UInt8]
    private var index = 0

    package init(_ bytes: some Sequence<UInt8>) {
        self.bytes = Array(bytes)
    }

    /// Whether nothing but white space is left.
    package mutating func isAtEnd() -> Bool {
        skipSpace()
        return index == bytes.count
    }

    /// Calls `body` for each member of an object, which has to read its value.
    /// - Parameter body: false when it could not.
    package mutating func object(_ body: (String, inout PlainJSON) -> Bool) -> Bool {
        guard take("{") else { return false }
        if take("}") { return true }
        repeat {
            guard let key = string(), take(":"), body(key, &self) else { return false }
        } while take(",")
        return take("}")
    }

    package mutating func array<Element>(_ element: (inout PlainJSON) -> Element?) -> [Element]? {
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

    package mutating func integer() -> Int? {
        let digits = numberRange()
        guard 1...18 ~= digits.count, isPlain(digits) else { return nil }
        var value = 0
        for place in digits {
            guard Self.isDigit(bytes[place]) else { return nil }
            value = value * 10 + Int(bytes[place] - UInt8(ascii: "0"))
        }
        return value
    }

    package mutating func number() -> Double? {
        let text = numberRange()
        guard isNumber(text), let value = Double(String(decoding: bytes[text], as: UTF8.self)),
            value.isNormal || value == 0
        else { return nil }
        // What is too small for a number, others may refuse.
        let isSmall = value == 0 && text.contains { UInt8(ascii: "1")...UInt8(ascii: "9") ~= bytes[$0] }
        return isSmall ? nil : value
    }

    /// RFC 8259, section 6, without a sign: no zeros in front, digits around the point and in the exponent.
    private func isNumber(_ text: Range<Int>) -> Bool {
        var place = text.lowerBound
        func skipDigits() -> Bool {
            let start = place
            while place < text.upperBound, Self.isDigit(bytes[place]) { place += 1 }
            return place > start
        }
        guard skipDigits(), isPlain(text.lowerBound..<place) else { return false }
        if place < text.upperBound, bytes[place] == UInt8(ascii: ".") {
            place += 1
            guard skipDigits() else { return false }
        }
        if place < text.upperBound, bytes[place] | 0x20 == UInt8(ascii: "e") {
            place += 1
            if place < text.upperBound, bytes[place] == UInt8(ascii: "-") || bytes[place] == UInt8(ascii: "+") {
                place += 1
            }
            guard skipDigits() else { return false }
        }
        return place == text.upperBound
    }

    private func isPlain(_ digits: Range<Int>) -> Bool {
        digits.count == 1 || bytes[digits.lowerBound] != UInt8(ascii: "0")
    }

    /// Steps over what may be a number; empty: nothing was.
    private mutating func numberRange() -> Range<Int> {
        skipSpace()
        let start = index
        while index < bytes.count, Self.isOfNumber(bytes[index]) { index += 1 }
        return start..<index
    }

    private static func isDigit(_ byte: UInt8) -> Bool { UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte }

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
