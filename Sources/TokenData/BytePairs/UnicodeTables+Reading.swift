extension UnicodeTables {
    /// Of `categoryRuns`: a letter for the category, and the length of the run when it is not 1.
    static func categories() -> [(start: UInt32, category: UInt8)] {
        var runs = [(start: UInt32, category: UInt8)]()
        var (start, category, length): (UInt32, UInt8?, UInt32) = (0, nil, 0)
        func finish() {
            guard let category else { return }
            runs.append((start, category))
            start += max(1, length)
        }
        for byte in categoryRuns.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): length = length * 10 + UInt32(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "A")...UInt8(ascii: "Z"):
                finish()
                (category, length) = (byte - UInt8(ascii: "A"), 0)
            case UInt8(ascii: "a")...UInt8(ascii: "d"):
                finish()
                (category, length) = (26 + byte - UInt8(ascii: "a"), 0)
            default: break
            }
        }
        finish()
        return runs
    }

    /// Of `moreDigits`: `first-last`, scalars in hexadecimal digits.
    static func digitsBesidesNumbers() -> [ClosedRange<UInt32>] { words(moreDigits).map(range) }

    /// Of `combiningRuns`: `first-last=class`; classes other than 0.
    static func combiningClasses() -> [(ClosedRange<UInt32>, UInt8)] {
        words(combiningRuns).map { word in
            let sides = word.split(separator: "=")
            return (range(sides[0]), UInt8(sides[1])!)
        }
    }

    /// Of `fullDecompositions`: `scalar=part+part…`, with `!` before those that are not composed again.
    static func decompositions() -> [(scalar: UInt32, parts: [UInt32], isComposed: Bool)] {
        words(fullDecompositions).map { word in
            let sides = word.drop { $0 == "!" }.split(separator: "=")
            return (scalar(sides[0]), sides[1].split(separator: "+").map(scalar), !word.hasPrefix("!"))
        }
    }

    private static func words(_ table: String) -> [Substring] { table.split { $0 == " " || $0 == "\n" } }

    private static func range(_ digits: Substring) -> ClosedRange<UInt32> {
        let bounds = digits.split(separator: "-").map(scalar)
        return bounds[0]...bounds[bounds.count - 1]
    }

    private static func scalar(_ digits: Substring) -> UInt32 { UInt32(digits, radix: 16)! }
}
