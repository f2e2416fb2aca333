import Foundation

/// Reads what Python's pickle module writes of dictionaries, lists, numbers and texts, and names what else is there. Nothing
/// is ever called: a tensor is an object whose maker's name and arguments are known.
///
/// The machine is that of CPython's `pickletools`; the opcodes are those of protocols 2 to 4 that `torch.save` uses.
struct Pickle {
    enum Value {
        case none
        case bool(Bool)
        case integer(Int)
        case number(Double)
        case text(String)
        case tuple(Items)
        /// A list, or a dictionary with its keys and values in turn; shared, since memos may name it before it is filled.
        case list(Items)
        case dictionary(Items)
        /// A name of Python's: `module name`.
        case global(String)
        /// What calling a name with arguments, or a persistent reference, would make.
        case object(String, Items)
        case persistent(Items)
        case mark
    }

    final class Items {
        var values: [Value]
        init(_ values: [Value]) { self.values = values }
    }

    struct Damaged: Error, CustomStringConvertible { let description: String }

    private let bytes: Data
    private var position: Int
    private var stack = [Value]()
    private var memo = [Int: Value]()
    private static let memoLimit = 10_000_000
    /// All containers, so that none goes before the end: one in another, deeper than a stack, goes without recursion then.
    private var containers = [Items]()

    /// What `body` makes of the value.
    static func read<Result>(_ data: Data, _ body: (Value) throws -> Result) throws -> Result {
        var pickle = Pickle(data)
        defer { for items in pickle.containers { items.values.removeAll() } }
        return try body(pickle.run())
    }

    private mutating func items(_ values: [Value] = []) -> Items {
        let items = Items(values)
        containers.append(items)
        return items
    }

    private init(_ data: Data) {
        bytes = data
        position = data.startIndex
    }

    private mutating func run() throws(Damaged) -> Value {
        while true {
            let opcode = try take(1).first ?? 0
            if opcode == UInt8(ascii: ".") { return try pop() }
            var isKnown = try readConstant(opcode)
            if !isKnown { isKnown = try readContainer(opcode) }
            if !isKnown { isKnown = try readMemo(opcode) }
            if !isKnown { isKnown = try readObject(opcode) }
            guard !isKnown else { continue }
            throw Damaged(description: "it has the opcode \(opcode), which no dump of tensors needs")
        }
    }

    // MARK: Numbers, texts and names

    private mutating func readConstant(_ opcode: UInt8) throws(Damaged) -> Bool {
        switch opcode {
        case 0x80: _ = try take(1)  // PROTO
        case 0x95: _ = try take(8)  // FRAME
        case UInt8(ascii: "N"): stack.append(.none)
        case 0x88: stack.append(.bool(true))
        case 0x89: stack.append(.bool(false))
        case UInt8(ascii: "K"): stack.append(.integer(try unsigned(1)))
        case UInt8(ascii: "M"): stack.append(.integer(try unsigned(2)))
        case UInt8(ascii: "J"): stack.append(.integer(Int(Int32(truncatingIfNeeded: try unsigned(4)))))
        case 0x8A: stack.append(.integer(try longInteger(unsigned(1))))
        case UInt8(ascii: "G"):
            var bits: UInt64 = 0
            for byte in try take(8) { bits = bits << 8 | UInt64(byte) }
            stack.append(.number(Double(bitPattern: bits)))
        case UInt8(ascii: "X"): stack.append(try text(unsigned(4)))
        case 0x8C: stack.append(try text(unsigned(1)))
        case UInt8(ascii: "c"):
            let module = try line()
            stack.append(.global(module + " " + (try line())))
        case 0x93:  // STACK_GLOBAL
            guard case .text(let name) = try pop(), case .text(let module) = try pop() else { throw Self.malformed }
            stack.append(.global(module + " " + name))
        default: return false
        }
        return true
    }

    // MARK: Tuples, lists and dictionaries

    private mutating func readContainer(_ opcode: UInt8) throws(Damaged) -> Bool {
        switch opcode {
        case UInt8(ascii: "("): stack.append(.mark)
        case UInt8(ascii: ")"): stack.append(.tuple(items()))
        case UInt8(ascii: "t"): stack.append(.tuple(items(try popToMark())))
        case 0x85, 0x86, 0x87:  // TUPLE1, TUPLE2, TUPLE3
            var values = [Value]()
            for _ in 0..<opcode - 0x84 { values.append(try pop()) }
            stack.append(.tuple(items(values.reversed())))
        case UInt8(ascii: "]"): stack.append(.list(items()))
        case UInt8(ascii: "}"): stack.append(.dictionary(items()))
        case UInt8(ascii: "a"): try extend(with: [pop()])
        case UInt8(ascii: "e"): try extend(with: popToMark())
        case UInt8(ascii: "s"):
            let value = try pop()
            try extend(with: [pop(), value])
        case UInt8(ascii: "u"): try extend(with: popToMark())
        default: return false
        }
        return true
    }

    /// Items of an object of a kind that is not known are of no use.
    private mutating func extend(with values: [Value]) throws(Damaged) {
        switch stack.last {
        case .list(let items), .dictionary(let items): items.values += values
        case .object: break
        default: throw Self.malformed
        }
    }

    // MARK: Memo

    private mutating func readMemo(_ opcode: UInt8) throws(Damaged) -> Bool {
        switch opcode {
        case UInt8(ascii: "q"): try remember(unsigned(1))
        case UInt8(ascii: "r"): try remember(unsigned(4))
        case 0x94: try remember(memo.count)  // MEMOIZE
        case UInt8(ascii: "h"): stack.append(try recall(unsigned(1)))
        case UInt8(ascii: "j"): stack.append(try recall(unsigned(4)))
        default: return false
        }
        return true
    }

    private mutating func remember(_ index: Int) throws(Damaged) {
        guard let value = stack.last, memo.count < Self.memoLimit else { throw Self.malformed }
        memo[index] = value
    }

    private func recall(_ index: Int) throws(Damaged) -> Value {
        guard let value = memo[index] else { throw Self.malformed }
        return value
    }

    // MARK: Objects

    private mutating func readObject(_ opcode: UInt8) throws(Damaged) -> Bool {
        switch opcode {
        case UInt8(ascii: "R"), 0x81:  // REDUCE, NEWOBJ
            guard case .tuple(let arguments) = try pop() else { throw Self.malformed }
            let maker = try pop()
            if case .global("collections OrderedDict") = maker {
                stack.append(.dictionary(items()))
            } else if case .global(let name) = maker {
                stack.append(.object(name, arguments))
            } else {
                stack.append(.object("an object", arguments))
            }
        case UInt8(ascii: "b"): _ = try pop()  // BUILD
        case UInt8(ascii: "Q"):
            guard case .tuple(let reference) = try pop() else { throw Self.malformed }
            stack.append(.persistent(reference))
        default: return false
        }
        return true
    }

    // MARK: Bytes

    private static let malformed = Damaged(description: "its pickle is malformed")

    private mutating func take(_ count: Int) throws(Damaged) -> Data {
        guard count >= 0, count <= bytes.endIndex - position else {
            throw Damaged(description: "its pickle is cut off")
        }
        defer { position += count }
        return bytes[position..<position + count]
    }

    private mutating func unsigned(_ count: Int) throws(Damaged) -> Int {
        try take(count).reversed().reduce(0) { $0 << 8 | Int($1) }
    }

    /// Two's complement of so many bytes.
    private mutating func longInteger(_ count: Int) throws(Damaged) -> Int {
        guard count <= 8 else { throw Damaged(description: "it has an integer of \(count) bytes") }
        guard count > 0 else { return 0 }
        let value = try take(count).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let shift = 64 - 8 * count
        return Int(Int64(bitPattern: value << shift) >> shift)
    }

    private mutating func text(_ count: Int) throws(Damaged) -> Value {
        .text(String(decoding: try take(count), as: UTF8.self))
    }

    private mutating func line() throws(Damaged) -> String {
        guard let end = bytes[position...].firstIndex(of: 0x0A) else {
            throw Damaged(description: "its pickle is cut off")
        }
        defer { position = end + 1 }
        return String(decoding: bytes[position..<end], as: UTF8.self)
    }

    private mutating func pop() throws(Damaged) -> Value {
        guard let value = stack.popLast() else { throw Self.malformed }
        return value
    }

    private mutating func popToMark() throws(Damaged) -> [Value] {
        var values = [Value]()
        while true {
            let value = try pop()
            if case .mark = value { return values.reversed() }
            values.append(value)
        }
    }
}

extension Pickle.Value {
    /// The values of a dictionary whose keys are texts; nil when it is none.
    var fields: [String: Pickle.Value]? {
        guard case .dictionary(let items) = self else { return nil }
        var fields = [String: Pickle.Value]()
        for index in stride(from: 0, to: items.values.count - 1, by: 2) {
            if case .text(let key) = items.values[index] { fields[key] = items.values[index + 1] }
        }
        return fields
    }
}
