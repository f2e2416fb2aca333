import MessagePassing

/// What every `Communicator` must do, as checks that all ranks of a group run together.
public enum CommunicatorConformance {
    /// One check; collective.
    public struct Check: Sendable, CustomStringConvertible {
        public let name: String
        public let run: @Sendable (_ communicator: any Communicator, _ seed: UInt64) throws -> Void
        public var description: String { name }
    }

    /// All checks. They leave the group as they found it.
    public static let checks = [
        Check(name: "ranks count up from 0", run: ranks),
        Check(name: "broadcast copies the root's values") { group, _ in try onEveryType(Broadcast(), group) },
        Check(name: "allReduce combines entry by entry") { group, _ in try onEveryType(AllReduce(), group) },
        Check(name: "allGather concatenates in rank order") { group, _ in try onEveryType(AllGather(), group) },
        Check(name: "allToAll transposes blocks") { group, _ in try onEveryType(AllToAll(), group) },
        Check(name: "exchange keeps the order of blocks") { group, _ in try onEveryType(Exchange(), group) },
        Check(name: "exchanges go on beside each other", run: pendingExchanges),
        Check(name: "split orders by key, then rank", run: split),
        Check(name: "split groups of groups", run: nestedSplit),
        Check(name: "sums are the same on all ranks, bit by bit", run: identicalSums),
        Check(name: "blocks beyond any eager limit", run: largeBlocks),
        Check(name: "wrong arguments are refused", run: refusals),
        Check(name: "random rounds", run: randomRounds),
    ]
}

/// A check that failed.
public struct ConformanceFailure: Error, CustomStringConvertible {
    public let description: String

    public init(description: String) { self.description = description }
}

/// Throws on this rank when `actual` is not `expected`.
func expect<Value: Equatable>(_ actual: Value, equals expected: Value, _ what: @autoclosure () -> String) throws {
    if actual == expected { return }
    throw ConformanceFailure(description: "\(what()): expected \(expected), found \(actual)")
}

/// Element types that checks can make values of.
protocol SampleElement: MessageElement {
    /// A value that differs with `number`, small enough for sums of a few to be exact.
    init(sample number: Int)
}

extension UInt8: SampleElement { init(sample number: Int) { self = UInt8(number % 31) } }
extension Int32: SampleElement { init(sample number: Int) { self = Int32(number % 10_007) - 5_000 } }
extension Int: SampleElement { init(sample number: Int) { self = (number % 10_007 - 5_000) << 33 | number % 3 } }
extension Float: SampleElement { init(sample number: Int) { self = Float(number % 10_007 - 5_000) / 8 } }
extension Double: SampleElement { init(sample number: Int) { self = Double(number % 10_007 - 5_000) / 1024 } }

/// A check that runs with each element type.
protocol TypedCheck {
    func run<Element: SampleElement>(_ group: any Communicator, _: Element.Type) throws
}

func onEveryType(_ check: some TypedCheck, _ group: any Communicator) throws {
    try check.run(group, UInt8.self)
    try check.run(group, Int32.self)
    try check.run(group, Int.self)
    try check.run(group, Float.self)
    try check.run(group, Double.self)
}

/// The entries that rank `rank` brings: a function of rank and index, so every rank knows them.
func entries<Element: SampleElement>(of rank: Int, _ count: Int, salt: Int = 0) -> [Element] {
    (0..<count).map { Element(sample: (rank + 1) * 7919 + $0 * 104_729 + salt * 31) }
}

/// Counts to try for one rank of `size`: none, the same, uneven, none on some ranks.
func countPatterns(size: Int) -> [[Int]] {
    [
        [Int](repeating: 0, count: size), [Int](repeating: 4, count: size), (0..<size).map { $0 },
        (0..<size).map { $0 % 2 == 0 ? 0 : 5 }, (0..<size).map { $0 == 0 ? 1_000 : 1 },
    ]
}
