/// A regular expression that splits text, compiled for a backtracking machine: Oniguruma's, as far as tokenizers use it.
///
/// The leftmost match is taken, and of several there the first that the expression names.
struct SplitPattern: Sendable {
    enum Instruction: BitwiseCopyable {
        /// One scalar of a set.
        case one(set: Int)
        /// As many scalars of a set as there are, up to a number; when `givesBack`, fewer where what follows wants it.
        case run(set: Int, minimum: Int, maximum: Int, givesBack: Bool)
        /// Goes on at the first; at the second when that does not match.
        case split(Int, Int)
        case jump(Int)
        /// Whether what follows, up to an `accept` before `end`, matches here.
        case look(isNegative: Bool, end: Int)
        /// Takes the first match of what follows, up to an `accept` before `end`.
        case atomic(end: Int)
        case accept
    }

    private static let maximumInstructions = 4096
    /// Nodes that are compiled, each as often as it is repeated: empty ones make no instruction, so that the other limit does
    /// not stop them.
    private static let maximumNodes = 16 * maximumInstructions
    /// A bit each in `members`, and in `branchesByByte`.
    private static let maximumSets = 64

    /// As it was given, for messages.
    let expression: String
    private(set) var instructions: [Instruction] = []
    /// Where the branches of the outermost choice begin.
    private(set) var branches: [Int] = []
    /// The branches that may match where this byte is.
    private(set) var branchesByByte = [UInt64](repeating: 0, count: 256)
    /// The class of each scalar: those of a class are in the same sets.
    private(set) var classes: [UInt8] = []
    /// The sets that a class is in.
    private(set) var members: [UInt64] = []
    private var sets: [ScalarSet] = []
    private var compiledNodes = 0

    /// - Throws: `Unsupported`, also for what can match nothing.
    init(_ pattern: String) throws(Unsupported) {
        expression = pattern
        var parser = Parser(pattern)
        let tree = try parser.whole()
        let outermost = if case .choice(let nodes) = tree { nodes } else { [tree] }
        guard outermost.count <= Self.maximumSets else { throw Unsupported(reason: "too many alternatives") }
        for (index, branch) in outermost.enumerated() {
            let first = Self.first(of: branch)
            guard !first.mayBeEmpty else { throw Unsupported(reason: "an alternative that matches nothing") }
            branches.append(instructions.count)
            try compile(branch)
            instructions.append(.accept)
            for byte in 0..<256 where first.mayBegin(with: UInt8(byte)) { branchesByByte[byte] |= 1 << UInt64(index) }
        }
        keepWhatNobodyWantsBack()
        try classify()
    }

    private mutating func emit(_ instruction: Instruction) throws(Unsupported) {
        guard instructions.count < Self.maximumInstructions else { throw Unsupported(reason: "too long an expression") }
        instructions.append(instruction)
    }

    private mutating func index(of set: ScalarSet) throws(Unsupported) -> Int {
        if let known = sets.firstIndex(of: set) { return known }
        guard sets.count < Self.maximumSets else { throw Unsupported(reason: "too many sets of characters") }
        sets.append(set)
        return sets.count - 1
    }

    private mutating func compile(_ node: Node) throws(Unsupported) {
        guard compiledNodes < Self.maximumNodes else { throw Unsupported(reason: "too many repetitions") }
        compiledNodes += 1
        switch node {
        case .set(let set): try emit(.one(set: index(of: set)))
        case .sequence(let nodes): for node in nodes { try compile(node) }
        case .choice(let nodes):
            var jumps = [Int]()
            for node in nodes.dropLast() {
                let split = instructions.count
                try emit(.jump(0))
                try compile(node)
                jumps.append(instructions.count)
                try emit(.jump(0))
                instructions[split] = .split(split + 1, instructions.count)
            }
            if let last = nodes.last { try compile(last) }
            for jump in jumps { instructions[jump] = .jump(instructions.count) }
        case .look(let inside, let isNegative):
            let start = instructions.count
            try emit(.jump(0))
            try compile(inside)
            try emit(.accept)
            instructions[start] = .look(isNegative: isNegative, end: instructions.count)
        case .repeated(.set(let set), let minimum, let maximum, let isPossessive):
            try emit(
                .run(
                    set: index(of: set), minimum: minimum, maximum: maximum,
                    givesBack: !isPossessive && minimum < maximum))
        case .repeated(let inside, let minimum, let maximum, isPossessive: true):
            let start = instructions.count
            try emit(.jump(0))
            try compile(.repeated(inside, minimum: minimum, maximum: maximum, isPossessive: false))
            try emit(.accept)
            instructions[start] = .atomic(end: instructions.count)
        case .repeated(let inside, let minimum, let maximum, _):
            for _ in 0..<minimum { try compile(inside) }
            if maximum == .max {
                guard !Self.first(of: inside).mayBeEmpty else {
                    throw Unsupported(reason: "repetitions of what may be empty")
                }
                let start = instructions.count
                try emit(.jump(0))
                try compile(inside)
                try emit(.jump(start))
                instructions[start] = .split(start + 1, instructions.count)
            } else {
                var splits = [Int]()
                for _ in minimum..<maximum {
                    splits.append(instructions.count)
                    try emit(.jump(0))
                    try compile(inside)
                }
                for split in splits { instructions[split] = .split(split + 1, instructions.count) }
            }
        }
    }

    /// A run that ends a match has no reason to give back.
    private mutating func keepWhatNobodyWantsBack() {
        for index in instructions.indices.dropLast() {
            guard case .run(let set, let minimum, let maximum, true) = instructions[index],
                case .accept = instructions[index + 1]
            else { continue }
            instructions[index] = .run(set: set, minimum: minimum, maximum: maximum, givesBack: false)
        }
    }

    /// What a match of a node may begin with.
    private struct First {
        var ascii: (low: UInt64, high: UInt64) = (0, 0)
        var mayBeOther = false
        var mayBeEmpty = false

        func mayBegin(with byte: UInt8) -> Bool {
            switch byte {
            case 0..<64: ascii.low >> UInt64(byte) & 1 != 0
            case 64..<128: ascii.high >> UInt64(byte - 64) & 1 != 0
            default: mayBeOther
            }
        }

        mutating func formUnion(_ other: First) {
            ascii.low |= other.ascii.low
            ascii.high |= other.ascii.high
            mayBeOther = mayBeOther || other.mayBeOther
        }
    }

    private static func first(of node: Node) -> First {
        switch node {
        case .set(let set):
            var first = First(mayBeOther: true)
            for value in UInt32(0)..<128 where set.contains(value, category: UnicodeCategories.ofASCII[Int(value)]) {
                if value < 64 {
                    first.ascii.low |= 1 << UInt64(value)
                } else {
                    first.ascii.high |= 1 << UInt64(value - 64)
                }
            }
            if set.categories == 0, !set.isNegated { first.mayBeOther = set.ranges.contains { $0.upperBound >= 128 } }
            return first
        case .sequence(let nodes):
            var result = First(mayBeEmpty: true)
            for node in nodes {
                let first = first(of: node)
                result.formUnion(first)
                if !first.mayBeEmpty {
                    result.mayBeEmpty = false
                    break
                }
            }
            return result
        case .choice(let nodes):
            var result = First()
            for first in nodes.map(first(of:)) {
                result.formUnion(first)
                result.mayBeEmpty = result.mayBeEmpty || first.mayBeEmpty
            }
            return result
        case .look: return First(mayBeEmpty: true)
        case .repeated(let inside, let minimum, _, _):
            var result = first(of: inside)
            result.mayBeEmpty = result.mayBeEmpty || minimum == 0
            return result
        }
    }

    /// Puts scalars that are in the same sets into a class.
    private mutating func classify() throws(Unsupported) {
        var numbers = [UInt64: UInt8]()
        classes = [UInt8](repeating: 0, count: 0x110000)
        let runs = UnicodeCategories.runs
        let bounds = Set(
            sets.flatMap(\.ranges).flatMap { [$0.lowerBound, $0.upperBound + 1] } + runs.map { $0.start } + [
                0, 0x110000,
            ]
        ).sorted()
        var run = 0
        for (start, end) in zip(bounds, bounds.dropFirst()) where end <= 0x110000 {
            while run + 1 < runs.count, runs[run + 1].start <= start { run += 1 }
            var mask: UInt64 = 0
            for (index, set) in sets.enumerated() where set.contains(start, category: runs[run].category) {
                mask |= 1 << UInt64(index)
            }
            let number: UInt8
            if let known = numbers[mask] {
                number = known
            } else {
                guard members.count < 256 else { throw Unsupported(reason: "too many different sets of characters") }
                number = UInt8(members.count)
                numbers[mask] = number
                members.append(mask)
            }
            for value in Int(start)..<Int(end) { classes[value] = number }
        }
    }
}
