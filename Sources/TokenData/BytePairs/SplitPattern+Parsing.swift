extension SplitPattern {
    /// What a regular expression is made of.
    indirect enum Node {
        case set(ScalarSet)
        case sequence([Node])
        case choice([Node])
        /// - `isPossessive`: gives nothing back when what follows does not match.
        case repeated(Node, minimum: Int, maximum: Int, isPossessive: Bool)
        /// Matches without taking anything.
        case look(Node, isNegative: Bool)
    }

    /// Why an expression is not taken.
    struct Unsupported: Error {
        let reason: String
    }

    /// Reads what tokenizers' expressions have of Oniguruma's Ruby syntax.
    struct Parser {
        private static let maximumDepth = 32
        private static let maximumRepetitions = 1000

        private let pattern: [Unicode.Scalar]
        private var position = 0
        private var depth = 0
        private var ignoresCase = false

        init(_ pattern: String) { self.pattern = Array(pattern.unicodeScalars) }

        private var next: Unicode.Scalar? { position < pattern.count ? pattern[position] : nil }

        private mutating func take(_ text: String) -> Bool {
            guard pattern[position...].starts(with: text.unicodeScalars) else { return false }
            position += text.unicodeScalars.count
            return true
        }

        mutating func whole() throws(Unsupported) -> Node {
            let node = try choice()
            guard next == nil else { throw Unsupported(reason: "a \")\" without \"(\"") }
            return node
        }

        private mutating func choice() throws(Unsupported) -> Node {
            guard depth < Self.maximumDepth else { throw Unsupported(reason: "groups too deep") }
            depth += 1
            defer { depth -= 1 }
            var branches = [try sequence()]
            while take("|") { branches.append(try sequence()) }
            return branches.count == 1 ? branches[0] : .choice(branches)
        }

        private mutating func sequence() throws(Unsupported) -> Node {
            var pieces = [Node]()
            var letters = [Unicode.Scalar]()
            while let scalar = next, scalar != "|", scalar != ")" {
                if ignoresCase, scalar.properties.isAlphabetic {
                    letters.append(scalar)
                } else {
                    letters = []
                }
                // ß is equal to ss when case is ignored, and ligatures to the letters that they join.
                if letters.count > 1,
                    ["ss", "st", "ff", "fi", "fl"].contains(String(String.UnicodeScalarView(letters.suffix(2))))
                {
                    throw Unsupported(reason: "ignoring case in letters that have a ligature")
                }
                pieces.append(try quantified(try atom()))
            }
            return pieces.count == 1 ? pieces[0] : .sequence(pieces)
        }

        private mutating func atom() throws(Unsupported) -> Node {
            guard let scalar = next else { throw Unsupported(reason: "it ends in the middle") }
            if take("(") { return try group() }
            if take("[") { return .set(try characterClass()) }
            if scalar == "\\" {
                position += 1
                return .set(try escape())
            }
            guard !"*+?.^${".unicodeScalars.contains(scalar) else {
                throw Unsupported(reason: "\"\(scalar)\" at this place")
            }
            position += 1
            return .set(try literal(scalar))
        }

        private func literal(_ scalar: Unicode.Scalar) throws(Unsupported) -> ScalarSet {
            guard ignoresCase else { return ScalarSet(ranges: [scalar.value...scalar.value]) }
            guard scalar.isASCII else { throw Unsupported(reason: "ignoring case beyond ASCII") }
            let letter = scalar.properties
            guard letter.isAlphabetic else { return ScalarSet(ranges: [scalar.value...scalar.value]) }
            var values = [
                letter.lowercaseMapping.unicodeScalars.first!.value,
                letter.uppercaseMapping.unicodeScalars.first!.value,
            ]
            // The long s and the Kelvin sign, which fold to ASCII.
            if values[0] == 0x73 { values.append(0x17F) }
            if values[0] == 0x6B { values.append(0x212A) }
            return ScalarSet(ranges: values.map { $0...$0 })
        }

        private mutating func group() throws(Unsupported) -> Node {
            let outer = ignoresCase
            defer { ignoresCase = outer }
            var look: Bool?
            if take("?") {
                if take("i:") {
                    ignoresCase = true
                } else if take("!") {
                    look = true
                } else if take("=") {
                    look = false
                } else if !take(":") {
                    throw Unsupported(reason: "a group that begins with (?\(next.map { String($0) } ?? "")")
                }
            }
            let inside = try choice()
            guard take(")") else { throw Unsupported(reason: "a \"(\" without \")\"") }
            return look.map { .look(inside, isNegative: $0) } ?? inside
        }

        private mutating func quantified(_ atom: Node) throws(Unsupported) -> Node {
            var bounds: (Int, Int)?
            var isCounted = false
            if take("*") {
                bounds = (0, .max)
            } else if take("+") {
                bounds = (1, .max)
            } else if take("?") {
                bounds = (0, 1)
            } else if take("{") {
                isCounted = true
                let minimum = try count()
                let maximum = take(",") ? try count() ?? .max : minimum
                guard take("}"), let maximum, minimum ?? 0 <= maximum, maximum > 0,
                    minimum != nil || maximum < .max
                else {
                    throw Unsupported(reason: "\"{\" that begins no count")
                }
                bounds = (minimum ?? 0, maximum)
            }
            guard let (minimum, maximum) = bounds else { return atom }
            if case .look = atom { throw Unsupported(reason: "a repeated lookahead") }
            let isPossessive = !isCounted && take("+")
            if let scalar = next, "*+?{".unicodeScalars.contains(scalar) {
                throw Unsupported(reason: "\"\(scalar)\" after a repetition")
            }
            return .repeated(atom, minimum: minimum, maximum: maximum, isPossessive: isPossessive)
        }

        private mutating func count() throws(Unsupported) -> Int? {
            var digits = ""
            while let scalar = next, scalar >= "0", scalar <= "9" {
                digits.unicodeScalars.append(scalar)
                position += 1
            }
            guard !digits.isEmpty else { return nil }
            guard let count = Int(digits), count <= Self.maximumRepetitions else {
                throw Unsupported(reason: "more than \(Self.maximumRepetitions) repetitions")
            }
            return count
        }

        /// What follows a backslash.
        private mutating func escape() throws(Unsupported) -> ScalarSet {
            guard let scalar = next else { throw Unsupported(reason: "it ends in the middle") }
            position += 1
            switch scalar {
            case "s": return .space
            case "S": return ScalarSet.space.complement
            case "d": return ScalarSet(categories: try Self.categories(of: "Nd"))
            case "p", "P":
                guard take("{") else { throw Unsupported(reason: "\\\(scalar) without \"{\"") }
                var name = ""
                let isNegated = take("^") != (scalar == "P")
                while let letter = next, letter != "}" {
                    name.unicodeScalars.append(letter)
                    position += 1
                }
                guard take("}") else { throw Unsupported(reason: "it ends in the middle") }
                let categories = try Self.categories(of: name)
                return ScalarSet(categories: isNegated ? ~categories : categories)
            case "r": return ScalarSet(ranges: [0x0D...0x0D])
            case "n": return ScalarSet(ranges: [0x0A...0x0A])
            case "t": return ScalarSet(ranges: [0x09...0x09])
            case "f": return ScalarSet(ranges: [0x0C...0x0C])
            case "v": return ScalarSet(ranges: [0x0B...0x0B])
            default:
                guard scalar.isASCII, !scalar.properties.isAlphabetic, scalar.properties.numericType == nil else {
                    throw Unsupported(reason: "\\\(scalar)")
                }
                return ScalarSet(ranges: [scalar.value...scalar.value])
            }
        }

        private static func categories(of name: String) throws(Unsupported) -> UInt32 {
            var bits: UInt32 = 0
            for (index, category) in UnicodeCategories.names.enumerated()
            where category == name || category.prefix(1) == name {
                bits |= 1 << UInt32(index)
            }
            guard bits != 0 else { throw Unsupported(reason: "\\p{\(name)}, which is no general category") }
            return bits
        }

        /// What follows "[".
        private mutating func characterClass() throws(Unsupported) -> ScalarSet {
            guard !ignoresCase else { throw Unsupported(reason: "ignoring case in [ ]") }
            var result = ScalarSet()
            result.isNegated = take("^")
            while !take("]") {
                guard let first = next else { throw Unsupported(reason: "a \"[\" without \"]\"") }
                guard first != "[", !pattern[position...].starts(with: "&&".unicodeScalars) else {
                    throw Unsupported(reason: "\"\(first)\" within [ ]")
                }
                let item = try classItem()
                guard next == "-", position + 1 < pattern.count, pattern[position + 1] != "]" else {
                    result.categories |= item.categories
                    result.ranges += item.ranges
                    continue
                }
                position += 1
                let last = try classItem()
                guard let low = item.single, let high = last.single, low <= high else {
                    throw Unsupported(reason: "a range in [ ] that has no two ends")
                }
                result.ranges.append(low...high)
            }
            guard result.categories != 0 || !result.ranges.isEmpty else { throw Unsupported(reason: "an empty [ ]") }
            return result
        }

        private mutating func classItem() throws(Unsupported) -> ScalarSet {
            guard let scalar = next else { throw Unsupported(reason: "a \"[\" without \"]\"") }
            position += 1
            return scalar == "\\" ? try escape() : ScalarSet(ranges: [scalar.value...scalar.value])
        }
    }
}

extension ScalarSet {
    /// The only scalar in it.
    fileprivate var single: UInt32? {
        ranges.count == 1 && ranges[0].count == 1 && categories == 0 ? ranges[0].lowerBound : nil
    }
}
